"""Paths that a user writes: environment variables and ~ in them are expanded, and $$ stands for $."""

import os
import re

from sepvox.errors import ConfigError


def expanded(text: str, where: str) -> str:
    """The path with its variables filled in.

    Raises
    ------
    ConfigError
        If a variable is not set; `where` names the file and the key or line.
    """
    parts = [os.path.expandvars(part) for part in text.split("$$")]
    for part in parts:
        if unknown := re.search(r"\$\{?(\w+)", part):
            raise ConfigError(
                f"{where}: environment variable {unknown[1]} is not set; export {unknown[1]}=… first, or write $$ for $"
            )
    return os.path.expanduser("$".join(parts))
