"""The step that scores subjects, and what is written once all are scored: tables over the subjects of a model.

Only subjects that have a label map are scored: those of role test, and those of role validate, on which checkpoint and
clean-up were chosen. The tables keep the two apart. Scoring itself is in `sepvox.score.class_score`.
"""

from pathlib import Path

from sepvox import markers, ome_zarr
from sepvox.class_summary import as_csv, summary
from sepvox.errors import InputError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.layout import Layout
from sepvox.storage import Place
from sepvox.subjectwise import Subjectwise
from sepvox.versions import VERSIONS

_ROLES = ("test", "validate")


def score_step(experiment: ClassesExperiment, model: str, layout: Layout) -> Subjectwise:
    """The step over all subjects of a model that have a label map."""
    roles = experiment.roles(model)
    fingerprints = {
        name: markers.fingerprint(
            "score",
            VERSIONS["score"],
            list(experiment.classes.items()),
            roles[name],
            ome_zarr.attributes(layout.segmentation(model, name))["fingerprint"],
            _file(experiment, layout, name),
        )
        for name in scored(experiment, model)
    }

    def made(name: str) -> list[Place]:
        return [layout.scores(model, name)]

    return Subjectwise("score", layout.step("score", model), fingerprints, made)


def scored(experiment: ClassesExperiment, model: str) -> list[str]:
    """Names of the subjects that a model predicts and that have a label map."""
    roles = experiment.roles(model)
    return [name for name in experiment.predicted(model) if roles[name] in _ROLES and experiment.has_truth(name)]


def summarise(experiment: ClassesExperiment, model: str, results: Path) -> None:
    """Write the tables over the subjects of a model: scores.json, by role, and scores.csv, a row per subject and class.

    Raises
    ------
    StoreError
        If a subject was not scored.
    """
    layout = experiment.layout(results)
    score_step(experiment, model, layout).check_done()
    names = scored(experiment, model)
    if not names:
        raise InputError(f"model {model}: none of the subjects that it predicts has a label map; add `labels` to score")
    records = [markers.read_json(layout.scores(model, name)) for name in names]
    by_role = {role: [record for record in records if record["role"] == role] for role in _ROLES}
    table = {"model": model} | {role: summary(members) if members else None for role, members in by_role.items()}
    with markers.replacing(layout.summary_table(model)) as temporary:
        temporary.write_text(as_csv(records))
    markers.write_json(layout.summary(model), table)


def _file(experiment: ClassesExperiment, layout: Layout, name: str) -> tuple[str, int, int] | None:
    """Where the label map is and when it changed; None where it does not exist."""
    path = experiment.on_disk(layout, name).labels
    if path is None or not path.exists():
        return None
    return str(path), path.stat().st_size, path.stat().st_mtime_ns
