"""classify: class probabilities to class maps, on the prepared grid and in the space of each subject's scan."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from sepvox import blockwise, markers, ome_zarr
from sepvox.blocks import Part
from sepvox.errors import StaleError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.prepare.subject import open_prepared
from sepvox.segment.class_map import decide, write_prepared, write_scan
from sepvox.segment.clean_up import CleanUp, read_clean_up
from sepvox.storage import Place
from sepvox.subjectwise import Subjectwise
from sepvox.versions import VERSIONS


def classify_subjects(
    experiment: ClassesExperiment, model: str, results: Path, part: Part, restart: bool = False
) -> None:
    """Write segmentation.zarr and segmentation.nii.gz of the subjects of a part.

    Raises
    ------
    StoreError
        If probabilities or the clean-up are missing.
    StaleError
        If the clean-up was chosen with another setting.
    """
    layout = experiment.layout(results)
    clean_up = chosen_clean_up(experiment, model, layout)
    step = classify_step(experiment, model, layout, clean_up)
    work = partial(_classify, experiment, layout, model, clean_up, step.fingerprints)
    with blockwise.processes(experiment.segment.processes) as executor:
        step.run(part, work, executor, restart)


def classify_step(experiment: ClassesExperiment, model: str, layout: Layout, clean_up: CleanUp) -> Subjectwise:
    """The step over all subjects that a model predicted."""
    settings = experiment.prepare.model_dump(mode="json", include={"chunk", "shard", "levels"})
    fingerprints = {
        name: markers.fingerprint(
            "classify",
            VERSIONS["classify"],
            list(experiment.classes.items()),
            (clean_up.foreground, clean_up.classes),
            settings,
            ome_zarr.attributes(layout.probabilities(model, name))["fingerprint"],
        )
        for name in experiment.predicted(model)
    }

    def made(name: str) -> list[Place]:
        return [layout.native_segmentation(model, name), layout.segmentation(model, name)]

    return Subjectwise("classify", layout.step("classify", model), fingerprints, made)


def chosen_clean_up(experiment: ClassesExperiment, model: str, layout: Layout) -> CleanUp:
    """The clean-up that `choose` wrote.

    Raises
    ------
    StoreError
        If it is missing or damaged.
    StaleError
        If it was chosen with another setting.
    """
    path = layout.clean_up(model)
    mend = "run `sepvox choose`"
    found = read_clean_up(path, experiment.classes, mend)
    setting = markers.read_json(path, "setting", mend=mend)["setting"]
    if setting != experiment.segment.clean_up:
        raise StaleError(
            f"{path}: chosen with segment.clean_up {setting}, which is {experiment.segment.clean_up} now; {mend}"
        )
    return found


def _classify(
    experiment: ClassesExperiment,
    layout: Layout,
    model: str,
    clean_up: CleanUp,
    fingerprints: Mapping[str, str],
    name: str,
) -> None:
    subject = open_prepared(experiment, layout, name)
    store = layout.probabilities(model, name)
    decision = decide(ome_zarr.open_level(store), clean_up)
    attributes = {
        "classes": experiment.classes,
        "weights": ome_zarr.attributes(store)["weights"],
        "clean_up": {"foreground": clean_up.foreground, "classes": clean_up.names(experiment.classes)},
        "grid": subject.grid.as_json(),
        "fingerprint": fingerprints[name],
    }
    write_prepared(
        layout.segmentation(model, name),
        decision,
        experiment.classes,
        ome_zarr.geometry(store),
        experiment.prepare,
        attributes,
    )
    write_scan(layout.native_segmentation(model, name), decision, experiment.classes, subject.grid, subject.header)
