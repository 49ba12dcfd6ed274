"""The merge threshold of a model as threshold.json has it: given beside published weights, or chosen in this experiment.

The file says the threshold, the scoring that it belongs to, and where it was chosen.
"""

from pathlib import Path
from typing import Any

from sepvox import markers
from sepvox.errors import StaleError, StoreError
from sepvox.experiments.neurons import NeuronsExperiment

KEYS = ("threshold", "scoring", "chosen_on")
STEP = "`sepvox choose`"


def given_threshold(experiment: NeuronsExperiment, model: str, results: Path) -> dict[str, Any] | None:
    """The threshold beside given weights; None where the experiment trains, or where there is none.

    Raises
    ------
    StoreError
        If the file is damaged.
    """
    path = experiment.model_directory(results, model) / "threshold.json"
    if experiment.train is not None or not path.exists():
        return None
    return _read(path, "copy it again from where the weights are from, or remove it and set segment.threshold")


def chosen_threshold(experiment: NeuronsExperiment, model: str, results: Path) -> dict[str, Any]:
    """The threshold that `choose` wrote.

    Raises
    ------
    StoreError
        If the file is missing or damaged.
    StaleError
        If it was chosen for another scoring.
    """
    path = experiment.layout(results).threshold(model)
    found = _read(path, f"run {STEP} again")
    scoring = experiment.segment.agglomerate.scoring
    if found["scoring"] != scoring:
        raise StaleError(
            f"{path}: chosen for scoring {found['scoring']}, but segment.agglomerate.scoring is {scoring}; run {STEP} again"
        )
    return found


def _read(path: Path, mend: str) -> dict[str, Any]:
    found: dict[str, Any] = markers.read_json(path, *KEYS, step=STEP, mend=mend)
    value = found["threshold"]
    if not isinstance(value, float) or not 0 < value < 1:
        raise StoreError(f"{path}: threshold is {value!r}, expected a number between 0 and 1; {mend}")
    return found
