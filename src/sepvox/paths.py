"""Paths that a user writes: environment variables and ~ in them are expanded."""

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
    found = os.path.expanduser(os.path.expandvars(text))
    unknown = re.search(r"\$\{?(\w+)", found)
    if unknown:
        raise ConfigError(f"{where}: environment variable {unknown[1]} is not set; export {unknown[1]}=… first")
    return found
