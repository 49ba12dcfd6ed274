"""Pieces of HTML, and the page made of them.

Everything is escaped here and nowhere else. The page is one file: style sheet and figures are inside it, and it refers to
nothing outside.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from sepvox.report.style import STYLE

NONE = "–"


@dataclass(frozen=True)
class Section:
    """A titled part of the page; `body` is HTML."""

    title: str
    body: str

    @property
    def anchor(self) -> str:
        return "-".join(self.title.lower().split())


@dataclass(frozen=True)
class Column:
    """A column of a table; numbers are set flush right."""

    title: str
    number: bool = False


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>\n"


def heading(text: str) -> str:
    return f"<h3>{escape(text)}</h3>\n"


def facts(items: Sequence[tuple[str, str, str]]) -> str:
    """A row of key figures: name, value, remark."""
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)} <small>{escape(remark)}</small></dd></div>"
        for name, value, remark in items
    )
    return f'<dl class="facts">{cells}</dl>\n'


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], strong: Sequence[int] = (), bars: Sequence[float] = ()
) -> str:
    """A table that scrolls where the screen is narrow.

    Parameters
    ----------
    columns : list of Column
    rows : list of lists of str
        One cell per column.
    strong : list of int
        Rows that are set off.
    bars : list of float
        One share in [0, 1] per row, drawn as a bar behind the last cell; may be shorter than the rows.
    """
    kinds = [' class="number"' if column.number else "" for column in columns]
    head = "".join(f"<th{kind}>{escape(column.title)}</th>" for kind, column in zip(kinds, columns, strict=True))
    body = ""
    for index, row in enumerate(rows):
        cells = [f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)]
        if index < len(bars):
            cells[-1] = f'<td class="bar" style="--share:{100 * bars[index]:.1f}%">{escape(row[-1])}</td>'
        opening = '<tr class="strong">' if index in strong else "<tr>"
        body += f"{opening}{''.join(cells)}</tr>\n"
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n'


def picture(png: bytes, description: str) -> str:
    """A PNG figure, inside the page."""
    source = b64encode(png).decode()
    return _figure(f'<img alt="{escape(description)}" src="data:image/png;base64,{source}">')


def chart(svg: str, width: int, caption: str = "") -> str:
    """An inline SVG figure, at most `width` pixels wide."""
    return _figure(f'<div style="max-width:{width}px;--wide:{width}px">{svg}</div>', caption)


def _figure(content: str, caption: str = "") -> str:
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><div class="scroll">{content}</div>{below}</figure>\n'


def folded(title: str, text: str) -> str:
    """Preformatted text that opens on a click."""
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>\n"


def beside(*parts: str) -> str:
    """Parts side by side where there is room."""
    return f'<div class="pair">{"".join(f"<div>{part}</div>" for part in parts)}</div>\n'


def page(title: str, subtitle: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole document; `lead` is HTML and stands above the sections."""
    links = "".join(f'<a href="#{section.anchor}">{escape(section.title)}</a>' for section in sections)
    body = "".join(
        f'<section id="{section.anchor}">\n<h2>{escape(section.title)}</h2>\n{section.body}</section>\n'
        for section in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} – sepvox</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="faint">{escape(subtitle)}</p>
<nav>{links}</nav>
</header>
<main>
{lead}{body}</main>
</body>
</html>
"""
