"""choose for classes: which classes keep their largest component only, decided on the validation subjects.

clean_up.json travels with published weights: `foreground` and `classes` say what is cleaned (see
`sepvox.segment.clean_up`), `setting` is segment.clean_up, `chosen_on` the subjects, `reason` one sentence, and `dice` the
mean Dice of those subjects `without` and `with` it, by class, or null where none was computed.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sepvox import markers, ome_zarr
from sepvox.blocks import Lattice
from sepvox.errors import ConfigError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.prepare.subject import PreparedSubject, open_prepared
from sepvox.segment.class_map import Decision, whole_map
from sepvox.segment.clean_up import CleanUp, Numbers, choose_clean_up, majority, read_clean_up

_BLOCK = (128, 128, 128)


def choose_clean_up_of(experiment: ClassesExperiment, model: str, results: Path) -> None:
    """Write clean_up.json of a model or an ensemble.

    An ensemble cleans what more than half of its models clean: its own predictions are of subjects that nothing may be
    chosen on. Given weights clean what the clean_up.json beside them says.

    Raises
    ------
    ConfigError
        If there is no such model.
    StoreError
        If a validation subject was not predicted, or a clean_up.json that is needed is missing or damaged.
    """
    if model not in experiment.predictors():
        raise ConfigError(f"--model {model}: the experiment has {', '.join(experiment.predictors())}")
    layout = experiment.layout(results)
    setting, classes = experiment.segment.clean_up, experiment.classes
    beside = None
    if experiment.train is None:
        beside = experiment.variant(model).model_directory(results, model) / "clean_up.json"
    if setting == "always":
        every = CleanUp(False, tuple(range(1, len(classes) + 1)))
        found = _content(every, classes, (), "segment.clean_up is always")
    elif setting == "never":
        found = _content(CleanUp(), classes, (), "segment.clean_up is never")
    elif experiment.is_ensemble(model):
        found = _of_members(experiment, experiment.ensembles()[model], layout)
    elif beside is not None and beside.exists():
        mend = "copy it again from where the weights are from, or remove it"
        given = markers.read_json(beside, "chosen_on", mend=mend)["chosen_on"]
        found = _content(read_clean_up(beside, classes, mend), classes, given, f"as {beside} says")
    elif beside is not None:
        found = _content(CleanUp(), classes, (), f"there is no {beside}")
    else:
        found = _of_validation(experiment, model, layout)
    markers.write_json(layout.clean_up(model), {"setting": setting} | found)


def _of_validation(experiment: ClassesExperiment, model: str, layout: Layout) -> dict[str, Any]:
    classes = experiment.classes
    subjects = experiment.named(model, "validate")
    if not subjects:
        return _content(CleanUp(), classes, (), "there are no validation subjects to choose on")
    choice = choose_clean_up(_pairs(experiment, model, layout, subjects), len(classes))
    reason = "it raises the Dice of the validation subjects" if choice.clean_up else "nothing gains by it"
    dice = {
        key: dict(zip(classes, values, strict=True))
        for key, values in (("without", choice.without), ("with", choice.with_clean_up))
    }
    return _content(choice.clean_up, classes, subjects, reason, dice)


def _of_members(experiment: ClassesExperiment, members: Sequence[str], layout: Layout) -> dict[str, Any]:
    choices, subjects = [], set()
    for member in members:
        path, mend = layout.clean_up(member), f"run `sepvox choose --model {member}` first"
        choices.append(read_clean_up(path, experiment.classes, mend))
        subjects.update(markers.read_json(path, "chosen_on", mend=mend)["chosen_on"])
    reason = f"more than half of {', '.join(members)} clean it"
    return _content(majority(choices), experiment.classes, sorted(subjects), reason)


def _pairs(
    experiment: ClassesExperiment, model: str, layout: Layout, subjects: Sequence[str]
) -> Iterator[tuple[Numbers, NDArray[np.uint8]]]:
    for name in subjects:
        store = layout.probabilities(model, name)
        # Of an unfinished store the level would open, and a missing shard be called damage.
        ome_zarr.attributes(store)
        predicted = whole_map(Decision(ome_zarr.open_level(store), None))
        yield predicted, _truth(open_prepared(experiment, layout, name))


def _truth(subject: PreparedSubject) -> NDArray[np.uint8]:
    """Class numbers (z, y, x) of all prepared voxels."""
    truth = np.empty(subject.shape, np.uint8)
    for box in Lattice(subject.shape, _BLOCK):
        truth[box.slices] = subject.classes_box(box)
    return truth


def _content(
    clean_up: CleanUp,
    classes: Mapping[str, int],
    chosen_on: Sequence[str],
    reason: str,
    dice: dict[str, dict[str, float | None]] | None = None,
) -> dict[str, Any]:
    return {
        "foreground": clean_up.foreground,
        "classes": clean_up.names(classes),
        "chosen_on": list(chosen_on),
        "reason": reason,
        "dice": dice,
    }
