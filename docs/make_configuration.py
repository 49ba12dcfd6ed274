"""The tables of configuration.md, made from the models of the configuration: python docs/make_configuration.py.

A *section* is a mapping of the YAML file, named by its dotted path; each is one table with a row per key. NAME stands for
a name that the user chooses. Keys that an experiment refuses are not in the models' schema, and so not here.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sepvox.config import EXPERIMENTS
from sepvox.studies.compression.settings import CompressionStudy
from sepvox.studies.toy_approximation.settings import ToyStudy
from sepvox.studies.video_classification.settings import VideoStudy
from sepvox.studies.video_mnist.settings import VideoMnistStudy

# Those that are no experiments: a study of blocks is one.
STUDIES = {"toy": ToyStudy, "compression": CompressionStudy, "video-mnist": VideoMnistStudy, "video": VideoStudy}
PAGE = Path(__file__).with_name("configuration.md")
HEAD = """# Configuration

One YAML file is one experiment. This page is made from the configuration's models by `python docs/make_configuration.py`.
`sepvox config CONFIG` prints a file with every default filled in, `sepvox config --schema` the JSON schema.

- Triples are in the order z, y, x.
- Relative paths are relative to the folder of the YAML file. Environment variables in paths are expanded.
- Unknown keys, wrong types and impossible combinations are refused, with the path of the key.
- `task` says which of the first two parts below applies; those behind them are of [studies](studies.md).
- `null` means not given. A section without a default has those of its keys.
"""
BOUNDS = {"exclusiveMinimum": "> {}", "minimum": "≥ {}", "exclusiveMaximum": "< {}", "maximum": "≤ {}"}

Node = dict[str, Any]


def render() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    titles = {f"Task {task}": model for task, model in EXPERIMENTS.items()}
    for title, model in (titles | {f"Study {name}": model for name, model in STUDIES.items()}).items():
        schema = model.model_json_schema()
        parts.append(f"## {title}\n")
        parts += [_table(path, node) for path, node in _sections("", schema, schema.get("$defs", {}))]
    return "\n".join(parts)


def _sections(path: str, node: Node, definitions: Node) -> Iterator[tuple[str, Node]]:
    """The sections at and below `node`, each before those inside it."""
    yield path, node
    for key, content in node["properties"].items():
        named = "patternProperties" in content
        inner = _inner(next(iter(content["patternProperties"].values())) if named else content)
        if inner is not None:
            below = ".".join(part for part in (path, key, "NAME" if named else "") if part)
            yield from _sections(below, definitions[inner], definitions)


def _inner(content: Node) -> str | None:
    """Name of the model that a value is, or may be."""
    found = [choice["$ref"] for choice in content.get("anyOf", [content]) if "$ref" in choice]
    return str(found[0]).rpartition("/")[2] if found else None


def _table(path: str, node: Node) -> str:
    title = f"### `{path}`" if path else "### Top level"
    rows = [
        "| " + " | ".join(_escaped(cell) for cell in _row(key, content, key in node.get("required", []))) + " |"
        for key, content in node["properties"].items()
    ]
    about = [" ".join(node["description"].split()), ""] if node.get("description") else []
    return "\n".join(
        [title, "", *about, "| key | type | default | description |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _row(key: str, content: Node, required: bool) -> tuple[str, str, str, str]:
    default = content.get("default")
    shown = f"`{default if isinstance(default, str) else json.dumps(default)}`"
    if required or (_inner(content) is not None and default is not None):
        shown = "required" if required else ""
    return f"`{key}`", _type(content), shown, content["description"]


def _type(content: Node) -> str:
    """A value's type in words, with its bounds."""
    if "anyOf" in content:
        return " or ".join(_type(choice) for choice in content["anyOf"])
    if "patternProperties" in content:
        value = next(iter(content["patternProperties"].values()))
        return "sections by name" if _inner(value) else f"{_type(value)} by name"
    if "$ref" in content:
        return "section"
    if "const" in content:
        return f"`{content['const']}`"
    if "enum" in content:
        return " or ".join(f"`{value}`" for value in content["enum"])
    if "prefixItems" in content:
        kinds = [_type(item) for item in content["prefixItems"]]
        return f"[{', '.join(kinds)}]" if len(set(kinds)) > 1 else f"{len(kinds)} × ({kinds[0]})"
    if content["type"] == "array":
        return f"list of ({_type(content['items'])})"
    if content["type"] == "null":
        return "`null`"
    name = {"string": "text", "boolean": "true or false"}.get(content["type"], str(content["type"]))
    bounds = [text.format(f"{content[bound]:g}") for bound, text in BOUNDS.items() if bound in content]
    return " ".join([name, ", ".join(bounds)]) if bounds else name


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render())
