"""What every step's settings share: the strict base model and the types of triples.

A *setting* is one key of an experiment's YAML file. Each step keeps its own settings in `sepvox/STEP/settings.py`, and
`sepvox.config` composes them. Every field carries a one-line description, from which the documentation is made. Triples
are in (z, y, x) order.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
# What torch takes.
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Probability = Annotated[float, Field(ge=0, le=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Shape = tuple[Positive, Positive, Positive]
Halo = tuple[NonNegative, NonNegative, NonNegative]
Offset = tuple[int, int, int]
Span = tuple[NonNegative, Positive]
# What becomes the name of a folder, a file or a key.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]


def _apart(classes: dict[str, int]) -> dict[str, int]:
    if len(set(classes.values())) < len(classes):
        raise ValueError("two names have the same value; give each class a value of its own")
    return classes


# Values in label maps by name; the class numbers 1, 2, … of networks and class maps are in this order.
Classes = Annotated[
    dict[Name, Annotated[int, Field(gt=0, lt=2**31)]], Field(min_length=1, max_length=255), AfterValidator(_apart)
]

NEAREST_OFFSETS: tuple[Offset, ...] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))


class Settings(BaseModel):
    """Frozen, and refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
