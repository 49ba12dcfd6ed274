"""Which subjects a model learns from: fixed splits, random ones, and k-fold cross-validation, always by group.

In cross-validation every group is in the *test* part of exactly one fold. The validation part, on which the checkpoint and
the clean-up are chosen, is drawn from the other folds, so that what is reported was never used to choose anything.
Subjects that the table puts into test or apply are in no fold: all models together, the *ensemble*, predict them.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from sepvox.errors import ConfigError
from sepvox.experiments.subject import Subject
from sepvox.prepare.settings import Role
from sepvox.settings import NonNegative, Settings

Fraction = Annotated[float, Field(ge=0, lt=1)]


class SplitSettings(Settings):
    """How subjects without a `split` of their own are divided."""

    folds: Annotated[int, Field(ge=2)] | None = Field(
        None, description="Cross-validate in so many folds; one fixed or random split by default."
    )
    run: tuple[NonNegative, ...] | None = Field(None, description="Folds that are trained; all by default.")
    test: Fraction = Field(0.2, description="Without folds: part of the groups that is tested on.")
    validation: Fraction = Field(
        0.1, description="Part of the remaining groups on which checkpoint and clean-up are chosen; 0 for none."
    )
    group: str | None = Field(
        None, description="Another column of the table whose values stay together, such as the site, beside `group`."
    )
    seed: NonNegative = Field(0, description="Seed of the division.")


def roles_of(subjects: Sequence[Subject], settings: SplitSettings, fold: int | None) -> dict[str, Role]:
    """Role of every subject for one model, in the order of `subjects`.

    Parameters
    ----------
    fold : int or None
        Which fold is tested; None where there are no folds.

    Raises
    ------
    ConfigError
        If there are fewer groups than folds, or nothing is left to train on.
    """
    free = [subject for subject in subjects if subject.role is None]
    groups = sorted({subject.group for subject in free})
    shuffled = [groups[i] for i in np.random.default_rng(settings.seed).permutation(len(groups))]
    if fold is None:
        tested = set(shuffled[: _share(settings.test, len(shuffled))])
    else:
        tested = _dealt(free, shuffled, settings)[fold]
    rest = [group for group in shuffled if group not in tested]
    # A given validation part is enough; in another order for each fold, or the same few would choose for all of them.
    given = any(subject.role == "validate" for subject in subjects)
    order = np.random.default_rng([settings.seed, 1 + (fold or 0)]).permutation(len(rest))
    validated = set() if given else {rest[i] for i in order[: _share(settings.validation, len(rest))]}
    roles: dict[str, Role] = {}
    for subject in subjects:
        if subject.role is not None:
            roles[subject.name] = subject.role
        elif subject.group in tested:
            roles[subject.name] = "test"
        else:
            roles[subject.name] = "validate" if subject.group in validated else "train"
    if "train" not in roles.values():
        raise ConfigError(
            "split: no subject is left to train on; lower split.test and split.validation, or add subjects"
        )
    return roles


def _dealt(free: Sequence[Subject], shuffled: Sequence[str], settings: SplitSettings) -> list[set[str]]:
    """Groups of each fold: each group goes to the fold that has the fewest subjects so far, the largest groups first."""
    assert settings.folds is not None
    if len(shuffled) < settings.folds:
        mend = f"ask for at most {len(shuffled)}" if len(shuffled) > 1 else "remove split.folds"
        raise ConfigError(
            f"split.folds: {settings.folds} folds of the {len(shuffled)} groups without a split of their own; {mend}"
        )
    sizes = {group: sum(subject.group == group for subject in free) for group in shuffled}
    folds: list[set[str]] = [set() for _ in range(settings.folds)]
    for group in sorted(shuffled, key=lambda group: -sizes[group]):
        min(folds, key=lambda fold: sum(sizes[member] for member in fold)).add(group)
    return folds


def _share(fraction: float, count: int) -> int:
    """Groups that make up a fraction: at least one where it is not 0, and never all."""
    return 0 if fraction == 0 or count < 2 else min(count - 1, max(1, round(fraction * count)))
