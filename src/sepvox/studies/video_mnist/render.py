"""The table of a Video-MNIST study as text: Markdown to read, CSV to reckon with."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sepvox.studies.significance import LEVEL, holm, significant
from sepvox.studies.video_mnist.comparison import Comparison, Mean
from sepvox.studies.video_mnist.published import NETWORKS, TABLE_2, TITLES, Network

NONE = "—"


@dataclass(frozen=True)
class Tested:
    """The table on one set of test videos.

    Attributes
    ----------
    videos : int
        Number of test videos.
    rows : mapping
        Comparisons by number of training videos.
    """

    videos: int
    rows: Mapping[int, Comparison]

    @property
    def corrected(self) -> dict[int, float | None]:
        """The p-value of each row after Holm's correction for all rows; None where nothing was tested."""
        return dict(zip(self.rows, holm([row.p for row in self.rows.values()]), strict=True))

    def records(self) -> list[dict[str, Any]]:
        """Its rows in plain numbers, the published ones beside them; None where there are none."""
        ps = self.corrected.values()
        return [_record(videos, row, p) for (videos, row), p in zip(self.rows.items(), ps, strict=True)]


@dataclass(frozen=True)
class Trained:
    """The networks of one row and kind: size, learning rate, and what came of their trainings."""

    videos: int
    network: Network
    name: str
    parameters: int
    rate: float
    validation: Mean
    diverged: int


def markdown(title: str, notes: Sequence[str], tables: Sequence[Tested], networks: Sequence[Trained]) -> str:
    """The tables, what is to be known of them, and the networks behind them."""
    blocks = [f"# {title}", "\n".join(f"- {note}" for note in notes)]
    for table in tables:
        blocks += [f"## Accuracy on {table.videos:,} test videos", _accuracies(table), verdict(table)]
    blocks += ["## Networks", _networks(networks)]
    return "\n\n".join(blocks) + "\n"


def verdict(table: Tested) -> str:
    """What became of the paper's finding that 3DTT is better where there are few videos."""
    low = {videos: row for videos, row in table.rows.items() if videos in TABLE_2 and _published(videos) > 0}
    if not low:
        return "No row of the table is one in which 3DTT was published as better."
    corrected, parts = table.corrected, []
    for sign, words in ((1, "3DTT is better here too"), (-1, "dense is better here")):
        rows = [videos for videos, row in low.items() if row.sign == sign]
        sure = ", ".join(str(videos) for videos in rows if significant(corrected[videos])) or "none"
        parts.append(f"{words} in {len(rows)}, significantly so: {sure}")
    return (
        f"Of the {len(low)} rows in which 3DTT was published as better ({', '.join(map(str, low))} videos), "
        f"{'; '.join(parts)} (p < {LEVEL:g} after Holm's correction for the rows of the table)."
    )


def _published(videos: int) -> float:
    accuracy = TABLE_2[videos].accuracy
    return accuracy["tt"] - accuracy["dense"]


def as_csv(tables: Sequence[Tested]) -> str:
    """One line per set of test videos and row."""
    text = io.StringIO()
    lines = [{"test_videos": table.videos, **record} for table in tables for record in table.records()]
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _record(videos: int, row: Comparison, corrected: float | None) -> dict[str, Any]:
    published = TABLE_2[videos].accuracy if videos in TABLE_2 else None
    record: dict[str, Any] = {"videos": videos, "runs": row.runs}
    for network, found in (("dense", row.dense), ("tt", row.tt)):
        record |= {f"{network}_mean": found.mean, f"{network}_error": found.error}
    record |= {"difference": row.difference.mean, "difference_error": row.difference.error}
    record |= {"sign": row.sign, "t": row.t, "p": row.p, "p_holm": corrected, "significant": significant(corrected)}
    for network in NETWORKS:
        record[f"{network}_published"] = None if published is None else published[network]
    record["difference_published"] = None if published is None else round(published["tt"] - published["dense"], 4)
    return record


def _accuracies(table: Tested) -> str:
    header = ["videos", "runs"]
    header += [f"{TITLES[network]}, {whose}" for network in NETWORKS for whose in ("here", "published")]
    header += ["3DTT − 3D, here", "p", "p, Holm", "published", "better here", "better in the paper"]
    lines = []
    for (videos, row), record in zip(table.rows.items(), table.records(), strict=True):
        published = record["difference_published"]
        lines.append(
            [
                str(videos),
                str(row.runs),
                *(
                    cell
                    for network in NETWORKS
                    for cell in (_mean(record, network), _number(record[f"{network}_published"]))
                ),
                _written(row.difference, sign="+"),
                _p(record["p"]),
                _p(record["p_holm"]),
                NONE if published is None else f"{published:+.3f}",
                _better(row.sign) + ("" if record["significant"] or not row.sign else ", not significant"),
                NONE if published is None else _better((published > 0) - (published < 0)),
            ]
        )
    return _laid_out(header, lines)


def _networks(networks: Sequence[Trained]) -> str:
    header = ["videos", "network", "parameters", "learning rate", "validation accuracy", "runs that diverged"]
    return _laid_out(
        header,
        [
            [
                str(one.videos),
                f"`{one.name}`",
                f"{one.parameters:,}",
                f"{one.rate:g}",
                _written(one.validation),
                str(one.diverged),
            ]
            for one in networks
        ],
    )


def _laid_out(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *lines))


def _mean(record: Mapping[str, Any], network: Network) -> str:
    return _written(Mean(record[f"{network}_mean"], record[f"{network}_error"]))


def _written(found: Mean, sign: str = "") -> str:
    return f"{found.mean:{sign}.3f}" + ("" if found.error is None else f" ± {found.error:.3f}")


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _p(value: float | None) -> str:
    return NONE if value is None else f"{value:.2g}"


def _better(sign: int) -> str:
    return {1: TITLES["tt"], -1: TITLES["dense"], 0: "equal"}[sign]
