"""One subject of an MRI data set.

A *subject* is one head or crop with its images, one per *modality*, and, where there is one, its label map. The *role* of
a subject says what it is used for: train, validate, test or apply. Subjects of one *group* (a person scanned twice, a
site) are never torn apart by a split.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sepvox.errors import ConfigError
from sepvox.prepare.settings import Role

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# The part of a name that BIDS gives to the person, before what tells scans of one person apart.
_PERSON = re.compile(r"sub-[A-Za-z0-9]+(?=_)|.+?(?=_ses-)")


@dataclass(frozen=True)
class Subject:
    """One subject.

    Attributes
    ----------
    images : mapping of modality to file
        Empty for a phantom, whose files prepare makes.
    labels : Path or None
        Label map on the grid of the images.
    group : str
        Subjects of a group stay together in every split; where no group is given the person that a BIDS name tells, or
        else the subject's own name.
    role : str or None
        As the table's column `split` says; None leaves it to the experiment's `split`.
    columns : mapping
        Further columns of the table.
    """

    name: str
    images: Mapping[str, Path]
    labels: Path | None
    group: str
    role: Role | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def person_of(name: str) -> str:
    """The person that a BIDS name tells, or the name itself."""
    found = _PERSON.match(name)
    return found[0] if found else name


def check_name(name: str, where: str) -> None:
    """Refuse a name that cannot be a folder's; `where` says whence it came."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{where}: {name!r} cannot be a subject's name, which becomes a folder's; use letters, digits, _ . and -"
        )
