"""choose: the merge threshold, from the configuration, from beside given weights, or from the validation volumes.

threshold.json travels with published weights: it says the threshold, the scoring it belongs to, and where it was chosen.
"""

from pathlib import Path

import numpy as np

from sepvox import markers
from sepvox.errors import ConfigError, StoreError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.score.sweep import read_sweep
from sepvox.segment.threshold import given_threshold


def choose(experiment: NeuronsExperiment, model: str, results: Path) -> None:
    """Write threshold.json of a model: the least mean VI over the validation volumes, unless it is given.

    Raises
    ------
    ConfigError
        If there is neither a threshold nor a validation volume, or the given threshold belongs to another scoring.
    StaleError
        If a sweep was made from other fragments, labels or lookup tables, or with other settings.
    StoreError
        If a sweep or the given threshold is damaged, or the sweeps have different thresholds.
    """
    layout = experiment.layout(results)
    scoring = experiment.segment.agglomerate.scoring
    given = experiment.model_directory(results, model) / "threshold.json"
    validation = experiment.named("validate")
    if experiment.segment.threshold is not None:
        found = {"threshold": experiment.segment.threshold, "scoring": scoring, "chosen_on": "configuration"}
    elif (beside := given_threshold(experiment, model, results)) is not None:
        found = beside
        if found["scoring"] != scoring:
            raise ConfigError(
                f"{given}: its threshold was chosen for scoring {found['scoring']}, but segment.agglomerate.scoring is {scoring}; use that scoring, or set segment.threshold"
            )
    elif validation:
        sweeps = [read_sweep(experiment, model, volume, results)["thresholds"] for volume in validation]
        if any([e["threshold"] for e in sweep] != [e["threshold"] for e in sweeps[0]] for sweep in sweeps):
            raise StoreError(
                f"{layout.sweep(model, validation[0])}: the validation volumes were scored at different thresholds; run agglomerate and score --sweep again for {', '.join(validation)}"
            )
        means = np.mean([[entry["voi_sum"] for entry in sweep] for sweep in sweeps], axis=0)
        best = int(np.argmin(means))
        found = {
            "threshold": sweeps[0][best]["threshold"],
            "scoring": scoring,
            "chosen_on": ", ".join(validation),
            "voi_sum": float(means[best]),
        }
    else:
        raise ConfigError(
            f"no threshold: {given} does not exist and there is no volume of role validate; set segment.threshold"
        )
    markers.write_json(layout.threshold(model), found)
