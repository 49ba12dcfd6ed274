"""score for classes: each subject's class map against its own label map, both in native space."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sepvox import blockwise, markers
from sepvox.blocks import Part
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.prepare.labels import read_labels
from sepvox.prepare.scans import check_same_grid
from sepvox.score.class_metrics import class_scores
from sepvox.score.class_tables import score_step


def score_subjects(experiment: ClassesExperiment, model: str, results: Path, part: Part) -> None:
    """Write scores.json of the subjects of a part; older scores are set aside.

    Raises
    ------
    InputError
        If a label map cannot be read, has values that are no class, or lies on another grid than the scan.
    StoreError
        If a subject was not classified.
    """
    layout = experiment.layout(results)
    step = score_step(experiment, model, layout)
    work = partial(_score, experiment, layout, model)
    with blockwise.processes(experiment.score.processes) as executor:
        step.run(part, work, executor, restart=True)


def _score(experiment: ClassesExperiment, layout: Layout, model: str, name: str) -> None:
    path = experiment.on_disk(layout, name).labels
    assert path is not None
    values = list(experiment.classes.values())
    predicted = read_labels(layout.native_segmentation(model, name), f"subject {name}: segmentation", values)
    truth = read_labels(path, f"subject {name}: labels", values)
    check_same_grid(truth, predicted, f"subject {name}: labels")
    x, y, z = predicted.spacing
    scores = class_scores(predicted.data.T, truth.data.T, experiment.classes, (z, y, x))
    record: Mapping[str, Any] = {"subject": name, "model": model, "role": experiment.roles(model)[name], **scores}
    markers.write_json(layout.scores(model, name), record)
