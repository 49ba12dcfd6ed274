"""Tables for people who read them in a terminal."""

from collections.abc import Iterable


def text_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell."""
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)


def facts_and_table(facts: Iterable[tuple[str, str]], header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Facts, one a line, and a table below them."""
    return "\n".join([*(f"{key:<22}{value}" for key, value in facts), "", text_table(header, rows)])
