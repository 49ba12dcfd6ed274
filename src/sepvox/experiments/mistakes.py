"""What is wrong with settings, in one line: the path of the key, what was given, and the mend."""

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, model: type[BaseModel], where: str = "") -> str:
    """The first mistake in one line, with the path of its key.

    Parameters
    ----------
    model : type
        Whose validation failed; its keys are proposed for an unknown one.
    where : str
        Path of the key that holds the model; empty for the whole file.
    """
    first = error.errors()[0]
    key = ".".join(part for part in (where, *map(str, first["loc"])) if part)
    more = error.error_count() - 1
    tail = f" (and {more} more)" if more else ""
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known keys here: {', '.join(known)}"
        return f"{key}: unknown key; {hint}{tail}"
    if first["type"] == "missing":
        return f"{key}: missing key; add it{tail}"
    given = first.get("input")
    shown = (
        f", got {given!r}"
        if isinstance(given, (str, int, float, bool, list)) and first["type"] != "value_error"
        else ""
    )
    return f"{key}: {message}{shown}{tail}" if key else f"{message}{tail}"


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    node: Any = model.model_json_schema()
    definitions = node.get("$defs", {})
    for part in location:
        patterns = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
        node = node.get("properties", {}).get(part) or next((found for found in patterns if found), {})
        for choice in node.get("anyOf", [node]):
            if "$ref" in choice:
                node = definitions[choice["$ref"].rsplit("/", 1)[1]]
    return list(node.get("properties", {}))
