"""Networks that classify videos, with dense, parallel separable and 3DTT convolutions: the study's parts, one after another.

videos    they are made, or looked through.
units     each network with each seed is trained and tested by itself.
tables    what came out, as tables and figures.
"""

from pathlib import Path

import torch

from sepvox import markers
from sepvox.errors import ConfigError
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.resnet3d import build_clip_network, first_activations
from sepvox.report import figures
from sepvox.report.curves import read_metrics
from sepvox.studies.video_classification.clips import Clips
from sepvox.studies.video_classification.settings import VideoStudy
from sepvox.studies.video_classification.streams_figure import STREAMS, WHOLE, draw_streams
from sepvox.studies.video_classification.tables import as_csv, draw_accuracy, table
from sepvox.studies.video_classification.train import finished_result, train_unit
from sepvox.studies.video_classification.videos import Data, open_videos, prepare_videos

VIDEOS, TABLES = "videos", "tables"


def run(study: VideoStudy, results: Path, part: str | None = None, restart: bool = False) -> None:
    """Do one part of a study, or all that is missing.

    Parameters
    ----------
    results : Path
        Folder of all results.
    part : str, optional
        `videos`, a unit's name, or `tables`.
    restart : bool
        Move what was made with other settings aside instead of refusing to go on.

    Raises
    ------
    ConfigError
        If there is no such part.
    InputError, StaleError, StoreError
        As the parts.
    """
    parts = [VIDEOS, *study.units(), TABLES]
    if part is not None and part not in parts:
        raise ConfigError(f"--part {part}: the study has {', '.join(parts)}")
    layout = Layout(results / study.experiment)
    for each in parts if part is None else [part]:
        if each == VIDEOS:
            prepare_videos(study, layout, restart)
        elif each == TABLES:
            write_tables(study, layout)
        else:
            train_unit(study, each, open_videos(study, layout), layout, restart)


def write_tables(study: VideoStudy, layout: Layout) -> None:
    """Write table.csv, table.json and the figures from the units' results.

    Raises
    ------
    StoreError
        If a unit is not finished with these settings and videos.
    StaleError
        If the videos are others.
    """
    data, units = open_videos(study, layout), study.units()
    found = [finished_result(study, unit, data, layout) for unit in units]
    rows = table(found)
    markers.write_json(layout.study("table.json"), {"networks": rows, "runs": found})
    with markers.replacing(layout.study("table.csv")) as temporary:
        temporary.write_text(as_csv(rows))
    metrics = [read_metrics(layout.metrics(unit)) for unit in units]
    with figures.look(), markers.replacing(layout.figures() / "accuracy.png") as temporary:
        temporary.write_bytes(figures.png(draw_accuracy(found, metrics)))
    first = {label: unit for unit, (label, _) in reversed(units.items())}
    for label in study.networks:
        _write_streams(study, label, first[label], data, layout)


def _write_streams(study: VideoStudy, label: str, unit: str, data: Data, layout: Layout) -> None:
    """Draw what the first layer of a network sees in the first test video."""
    net = study.network(label, len(data.classes))
    network = build_clip_network(net).eval()
    weights.load_into(network, layout.weights(unit))
    clips = Clips(data.splits["test"], study.clip)
    shown = clips[0, 0]
    with torch.no_grad():
        found = [each[0].numpy() for each in first_activations(network, shown["clip"][None])]
    streams = STREAMS[: net.m] if net.block == "pmsc" else WHOLE
    named = dict(zip(streams, found, strict=True))
    words = data.classes[int(shown["label"])]
    with figures.look(), markers.replacing(layout.streams(label)) as temporary:
        temporary.write_bytes(figures.png(draw_streams(shown["clip"].numpy(), named, label, words)))
