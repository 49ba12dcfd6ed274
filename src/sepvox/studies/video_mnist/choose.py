"""Choose the learning rates of a Video-MNIST study by the validation accuracy of trainings that are not reported.

For each network and each number of videos to choose at, the candidate with the highest mean over its runs is taken; of
equals the smaller. A candidate of which a run diverged is left out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sepvox import markers
from sepvox.errors import InputError
from sepvox.layout import Layout
from sepvox.studies.video_mnist.published import Network
from sepvox.studies.video_mnist.records import Records
from sepvox.studies.video_mnist.settings import VideoMnistStudy
from sepvox.studies.video_mnist.units import Unit, candidate_units


def choose_rates(study: VideoMnistStudy, results: Path) -> None:
    """Write learning_rates.json of a study.

    Raises
    ------
    InputError
        If every candidate of a network diverged.
    StoreError
        If a candidate is not trained with these settings.
    """
    layout = Layout(results / study.experiment)
    records = Records(study, layout)
    trained = {unit: records.training(unit) for unit in candidate_units(records.table)}
    means = {
        (network, videos): mean_accuracies(
            {unit: trained[unit] for unit in trained if chosen_for(unit) == (network, videos)}
        )
        for network, videos in sorted({chosen_for(unit) for unit in trained})
    }
    rates: dict[Network, dict[str, float]] = {}
    for (network, videos), found in means.items():
        rates.setdefault(network, {})[str(videos)] = best_rate(network, videos, found)
    candidates = [
        {"network": network, "videos": videos, "rate": rate, "validation_accuracy": mean}
        for (network, videos), found in means.items()
        for rate, mean in found.items()
    ]
    markers.mark(layout.learning_rates(), records.choosing(), rates=rates, candidates=candidates)


def chosen_for(unit: Unit) -> tuple[Network, int]:
    """What a rate is chosen for."""
    return unit.network, unit.videos


def mean_accuracies(trained: Mapping[Unit, Mapping[str, Any]]) -> dict[float, float | None]:
    """Mean validation accuracy by rate, smaller rates first; None where a run diverged."""
    by_rate: dict[float, list[Mapping[str, Any]]] = {}
    for unit, found in trained.items():
        assert unit.rate is not None
        by_rate.setdefault(unit.rate, []).append(found)
    return {
        rate: None
        if any(found["diverged"] for found in by_rate[rate])
        else sum(found["validation"]["accuracy"] for found in by_rate[rate]) / len(by_rate[rate])
        for rate in sorted(by_rate)
    }


def best_rate(network: Network, videos: int, means: Mapping[float, float | None]) -> float:
    """The rate of the highest mean, of equals the smallest.

    Raises
    ------
    InputError
        If every candidate diverged.
    """
    known = {rate: mean for rate, mean in means.items() if mean is not None}
    if not known:
        raise InputError(
            f"table.train.learning_rates.{network}: with {videos} videos the loss stopped being a number for each of {', '.join(map(repr, means))}; give smaller ones"
        )
    return max(sorted(known), key=lambda rate: known[rate])
