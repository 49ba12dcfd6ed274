"""The table that a Video-MNIST study ends in: Table 2 and Figure 3 of Ras et al. (2019), ours beside the published.

Written to report/: table.md, table.csv, table.json, accuracy.png, accuracy.svg.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sepvox import markers
from sepvox.errors import StoreError
from sepvox.layout import Layout
from sepvox.report import figures
from sepvox.studies.significance import LEVEL
from sepvox.studies.video_mnist.chart import draw_accuracy
from sepvox.studies.video_mnist.comparison import TEST, compare, mean_of
from sepvox.studies.video_mnist.published import NETWORKS, TITLES
from sepvox.studies.video_mnist.records import Records
from sepvox.studies.video_mnist.render import Tested, Trained, as_csv, markdown
from sepvox.studies.video_mnist.settings import VideoMnistStudy
from sepvox.studies.video_mnist.units import Unit, reported_units

# The sets of test videos, as accuracy.json calls them; the figure shows the first that there is.
SETS = ("subset", "whole")


def write_table(study: VideoMnistStudy, results: Path, partial: bool = False) -> None:
    """Write the table and figure of a study.

    Parameters
    ----------
    results : Path
        Folder of all results.
    partial : bool
        Of the runs of which both networks are finished, where not all are.

    Raises
    ------
    StoreError
        If a unit is missing, or with `partial` all are, or one is damaged.
    """
    layout = Layout(results / study.experiment)
    records = Records(study, layout)
    pairs = finished_pairs(records, partial)
    tested = [found for name in SETS if (found := _tested(records, pairs, name)) is not None]
    networks = _trained(records, pairs)
    notes = _notes(study, pairs) + at_the_edge(study, networks)
    content = {
        "experiment": study.experiment,
        "notes": notes,
        "test": TEST,
        "settings": records.table.model_dump(mode="json"),
        "tables": [{"test_videos": found.videos, "rows": found.records()} for found in tested],
        "runs": [
            {
                "videos": videos,
                "run": run,
                **{network: records.test(Unit(network, videos, run)) for network in NETWORKS},
            }
            for videos, run in pairs
        ],
    }
    texts = {
        "csv": as_csv(tested),
        "md": markdown(f"{study.experiment}: accuracy by number of training videos", notes, tested, networks),
    }
    for kind, text in texts.items():
        with markers.replacing(layout.study(f"table.{kind}")) as temporary:
            temporary.write_text(text)
    markers.write_json(layout.study("table.json"), content)
    with figures.look():
        figure = draw_accuracy(tested[0].rows, _title(study, tested[0].videos, pairs))
        for kind, drawn in (("png", figures.png(figure)), ("svg", figures.svg(figure))):
            with markers.replacing(layout.study(f"accuracy.{kind}")) as temporary:
                temporary.write_bytes(drawn)


def finished_pairs(records: Records, partial: bool) -> list[tuple[int, int]]:
    """Rows and runs, (videos, run), of which both networks are finished, rows first.

    Raises
    ------
    StoreError
        If not all are and `partial` is false, or none is.
    """
    units = reported_units(records.table)
    missing = [unit for unit in units if not records.is_tested(unit)]
    if missing and not partial:
        raise StoreError(
            f"{records.layout.root}: {len(missing)} of {len(units)} trainings are not finished with these settings, {missing[0].name} the first; run `sepvox study video-mnist train` for each, or make a table of what there is with --partial"
        )
    lacking = {(unit.videos, unit.run) for unit in missing}
    pairs = sorted({(unit.videos, unit.run) for unit in units} - lacking)
    if not pairs:
        raise StoreError(f"{records.layout.root}: no run of which both networks are finished with these settings")
    return pairs


def _tested(records: Records, pairs: Sequence[tuple[int, int]], name: str) -> Tested | None:
    """The table on one set of test videos, of the runs that were tested on it; None where none was."""
    rows: dict[int, list[tuple[float, float]]] = {}
    count = 0
    for videos, run in pairs:
        dense, tt = (records.test(Unit(network, videos, run))[name] for network in NETWORKS)
        if dense is not None:
            rows.setdefault(videos, []).append((dense["accuracy"], tt["accuracy"]))
            count = dense["videos"]
    if not rows:
        return None
    return Tested(count, {videos: compare(*zip(*found, strict=True)) for videos, found in rows.items()})


def _trained(records: Records, pairs: Sequence[tuple[int, int]]) -> list[Trained]:
    rows = []
    for videos in sorted({videos for videos, _ in pairs}):
        for network in NETWORKS:
            units = [Unit(network, videos, run) for row, run in pairs if row == videos]
            found: list[dict[str, Any]] = [records.training(unit) for unit in units]
            rows.append(
                Trained(
                    videos,
                    network,
                    found[0]["network"],
                    found[0]["parameters"],
                    found[0]["learning_rate"],
                    mean_of([each["validation"]["accuracy"] for each in found]),
                    sum(each["diverged"] for each in found),
                )
            )
    return rows


def at_the_edge(study: VideoMnistStudy, networks: Sequence[Trained]) -> list[str]:
    """Which learning rates were the lowest or highest that could be chosen, as a sentence per network."""
    train = study.with_table().train
    found = []
    for network in NETWORKS:
        rates = sorted(train.rates(network))
        rows = {
            edge: [str(one.videos) for one in networks if (one.network, one.rate) == (network, edge)]
            for edge in (rates[0], rates[-1])
        }
        edges = [f"{edge:g} with {', '.join(videos)} videos" for edge, videos in rows.items() if videos]
        if len(rates) > 1 and edges:
            found.append(
                f"Of the learning rates for {TITLES[network]} ({', '.join(f'{rate:g}' for rate in rates)}) one at the edge was chosen, {' and '.join(edges)}: beyond may be a better one."
            )
    return found


def _title(study: VideoMnistStudy, videos: int, pairs: Sequence[tuple[int, int]]) -> str:
    """What the figure's accuracies are of, here and as published."""
    digits = "scikit-learn's digits" if study.videos.images is None else "MNIST"
    runs, epochs = len({run for _, run in pairs}), study.with_table().train.epochs
    return (
        f"Accuracy on {videos:,} test videos, mean ± standard error\n"
        f"here: {digits}, {runs} runs of {epochs} epochs; published: MNIST, 30 of 100"
    )


def _notes(study: VideoMnistStudy, pairs: Sequence[tuple[int, int]]) -> list[str]:
    """What is to be known of the figures, as sentences."""
    table = study.with_table()
    train, test, videos = table.train, table.test, study.videos
    early = "" if train.stop_after is None else f" or up to {train.stop_after} without a rise of validation accuracy"
    notes = [
        f"Mean ± standard error over runs, {TEST}; a difference is called significant where p < {LEVEL:g} after Holm's correction for the rows.",
        "Both networks of a run were trained on the same class-balanced videos. Published means are of 30 runs on 10,000 test videos (Ras et al. 2019, Table 2).",
        f"SGD, momentum {train.momentum:g}, batches of {train.batch}, {train.epochs} epochs{early}, validated before the first, every {train.validate_every} and after the last on a fixed balanced {train.validation_videos} of the {videos.validation:,} validation videos; the weights of the best validation were tested.",
        "Tested on the whole test split."
        if test.videos is None
        else f"Tested on a fixed balanced {test.videos:,} of the {videos.test:,} test videos"
        + (
            f", run{'s' if test.whole_runs > 1 else ''} 0{f' to {test.whole_runs - 1}' if test.whole_runs > 1 else ''} of each row on all of them too."
            if test.whole_runs
            else "."
        ),
    ]
    asked = len(reported_units(table)) // len(NETWORKS)
    if len(pairs) < asked:
        notes.append(f"Partial: {len(pairs)} of {asked} runs are finished.")
    if table.widths is not None:
        notes.append("The filters are not those of the published networks.")
    if videos.images is None:
        notes.append("The digits are scikit-learn's and not MNIST, so the published figures are not of the same data.")
    return notes
