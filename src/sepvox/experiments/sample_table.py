"""Subjects from a sample table: a line of a .csv or .tsv file for each.

Subjects that share a person or a site with a third one, in whichever columns, are of its group.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from sepvox.errors import ConfigError
from sepvox.experiments.subject import Subject, check_name, person_of
from sepvox.paths import expanded
from sepvox.prepare.settings import Role


def read_table(path: Path, group_by: str | None) -> list[Subject]:
    """The subjects of a table, in its order.

    Parameters
    ----------
    group_by : str or None
        Another column that groups subjects, beside `group`.

    Raises
    ------
    ConfigError
        If the table cannot be used: missing columns or cells, a name twice, a group in two splits, no subject at all.
    """
    columns, rows = _cells(path)
    modalities = {
        column: column.removeprefix("image").removeprefix("_") or "image"
        for column in columns
        if column == "image" or column.startswith("image_")
    }
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    twice += [f"image_{name}" for name, count in Counter(modalities.values()).items() if count > 1]
    if twice:
        raise ConfigError(
            f"subjects.table: {path}: two columns are called {twice[0]}; give each column a name of its own"
        )
    if "subject" not in columns or not modalities:
        raise ConfigError(
            f"subjects.table: {path}: has the columns {', '.join(columns) or 'none'}; expected subject and image, or image_NAME for each modality"
        )
    known = {"subject", "labels", "split", *modalities}
    if group_by in known:
        raise ConfigError(f"split.group: {group_by} is what a subject is made of; name another column of {path}")
    if group_by is not None and group_by not in columns:
        raise ConfigError(f"split.group: {path} has no column {group_by}; it has {', '.join(columns)}")
    subjects = []
    for number, cells in rows:
        where = f"subjects.table: {path}, line {number}"
        if len(cells) != len(columns):
            raise ConfigError(f"{where}: has {len(cells)} cells, but the first line has {len(columns)}; correct it")
        row = dict(zip(columns, cells, strict=True))
        name = row["subject"]
        check_name(name, where)
        for image, modality in modalities.items():
            if not row[image]:
                raise ConfigError(
                    f"{where}: subject {name} has no {modality}; give the file in column {image}, or leave the subject out"
                )
        role = row.get("split") or None
        if role is not None and role not in get_args(Role):
            raise ConfigError(f"{where}: split is {role!r}; expected train, validate, test, apply, or nothing")
        subjects.append(
            Subject(
                name=name,
                images={modality: path.parent / expanded(row[image], where) for image, modality in modalities.items()},
                labels=path.parent / expanded(row["labels"], where) if row.get("labels") else None,
                group=person_of(name),
                role=role,  # type: ignore[arg-type]
                columns={key: value for key, value in row.items() if key not in known},
            )
        )
    grouped = _grouped(subjects, [column for column in (group_by, "group") if column is not None])
    _check_table(grouped, path)
    return grouped


def _grouped(subjects: Sequence[Subject], columns: Sequence[str]) -> list[Subject]:
    """The subjects with the groups that the columns make: who shares a value in any of them, directly or through others.

    A group is called by the first value, of the first column, that one of its subjects has, and by the column too where
    another group has that value in another column.
    """
    titles = [*columns, "subject"]
    leader: dict[tuple[int, str], tuple[int, str]] = {}

    def led_by(key: tuple[int, str]) -> tuple[int, str]:
        while leader.setdefault(key, key) != key:
            key = leader[key]
        return key

    keys = []
    for subject in subjects:
        given = [(rank, value) for rank, column in enumerate(columns) if (value := subject.columns.get(column))]
        keys.append(given or [(len(columns), subject.group)])
        for key in keys[-1]:
            first, second = sorted((led_by(key), led_by(keys[-1][0])))
            leader[second] = first
    leaders = [led_by(own[0]) for own in keys]
    shared = Counter(value for _, value in set(leaders))
    names = [value if shared[value] == 1 else f"{titles[rank]}={value}" for rank, value in leaders]
    return [replace(subject, group=name) for subject, name in zip(subjects, names, strict=True)]


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The first line, and the number and cells of every other line that is not empty; blanks around a cell are no part of it."""
    try:
        # Spreadsheets put a byte order mark before the first column.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except OSError as error:
        raise ConfigError(f"subjects.table: {path}: cannot be read ({error.strerror}); check the path") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigError(
            f"subjects.table: {path}: is no table ({error}); expected text in UTF-8, .csv with commas or .tsv with tabs"
        ) from None
    filled = [line for line in lines if any(line[1])]
    return (filled[0][1], filled[1:]) if filled else ([], [])


def _check_table(subjects: Sequence[Subject], path: Path) -> None:
    if not subjects:
        raise ConfigError(f"subjects.table: {path}: has no row; add one per subject")
    roles: dict[str, set[str]] = {}
    for subject in subjects:
        roles.setdefault(subject.name, set()).add(str(subject.role))
    for name, count in Counter(subject.name for subject in subjects).items():
        if count > 1:
            torn = f", in the splits {' and '.join(sorted(roles[name]))}" if len(roles[name]) > 1 else ""
            raise ConfigError(
                f"subjects.table: {path}: subject {name} stands in {count} lines{torn}; give each scan a name of its own, and scans of one person the same group"
            )
    by_group: dict[str, set[str]] = {}
    for subject in subjects:
        # Nothing is learned from or judged on a subject of role apply.
        if subject.role != "apply":
            by_group.setdefault(subject.group, set()).add(subject.role or "none (left to the configuration)")
    for group, found in by_group.items():
        if len(found) > 1:
            raise ConfigError(
                f"subjects.table: {path}: group {group} stands in the splits {' and '.join(sorted(found))}; put all of its subjects into one"
            )
