"""The dataset inside a file that holds several.

A *key* names a dataset of an HDF5 file, an array of an .npz file, an array or image of a Zarr group. The *setting* is the
configuration key in which the user writes it: `key` beside `image`, `labels_key` beside `labels`.
"""

import difflib
from collections.abc import Mapping

from sepvox.errors import InputError

_LISTED = 20


def key_setting(what: str) -> str:
    """The configuration key for the dataset of `what`: `….key` for `….image`, `….labels_key` for `….labels`."""
    parent, dot, last = what.rpartition(".")
    return f"{parent}{dot}{'key' if last == 'image' else f'{last}_key'}"


def choose_key(key: str | None, available: Mapping[str, str], path: str, what: str) -> str:
    """The name among `available` that `key` means; the only one there is where no key is given.

    Parameters
    ----------
    key: as configured, with or without a leading slash.
    available: description (shape and dtype) by name.
    path, what: file and configuration key, for messages.

    Raises
    ------
    InputError: no such key, or none given and several there; the message lists the keys that there are.
    """
    setting = key_setting(what)
    if not available:
        raise InputError(f"{what}: {path}: holds no array; expected one of three axes")
    if key is None:
        if len(available) == 1:
            return next(iter(available))
        raise InputError(
            f"{what}: {path}: holds {len(available)} arrays and {setting} is not set; set it to one of {_listed(available)}"
        )
    name = key.strip("/")
    if name in available:
        return name
    near = difflib.get_close_matches(name, available, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(
        f"{what}: {path}: there is no {key!r}, given as {setting}; {guess}set it to one of {_listed(available)}"
    )


def refuse_key(key: str | None, kind: str, path: str, what: str) -> None:
    """Refuse a key for a file that holds one volume only."""
    if key is not None:
        raise InputError(
            f"{what}: {path}: {kind} holds one volume and has no keys, but {key_setting(what)} is {key!r}; remove it"
        )


def _listed(available: Mapping[str, str]) -> str:
    names = [f"{name} ({description})" for name, description in list(available.items())[:_LISTED]]
    more = len(available) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
