"""What the automatic choice of patch, pooling and batch makes of the subjects, for every network of the experiment.

The choice is made as training makes it: from the training subjects, of the first fold where there are several.
"""

from collections.abc import Mapping

from sepvox.blocks import Triple
from sepvox.errors import ConfigError, SepvoxError
from sepvox.experiments.base import MAIN
from sepvox.experiments.classes import ClassesExperiment
from sepvox.nets.model_config import resolved
from sepvox.nets.settings import NetworkSettings
from sepvox.prepare.grid import World
from sepvox.train.class_settings import ClassTrainSettings
from sepvox.train.plan import Plan, plan

_GIB = 1024**3


def plans_of(experiment: ClassesExperiment, prepared: Mapping[str, tuple[Triple, World]]) -> dict[str, Plan | str]:
    """The plan of each entry of `models`, or in one line why there is none; empty where nothing is trained.

    Parameters
    ----------
    prepared : mapping of subject to (shape, spacing)
        Of the prepared grids, z y x, spacing in mm; subjects that cannot be prepared are left out.
    """
    found: dict[str, Plan | str] = {}
    for model, run in experiment.runs().items():
        entry = run.entry or MAIN
        variant = experiment.variant(model)
        if variant.train is not None and entry not in found:
            try:
                found[entry] = _plan(variant, variant.train, model, prepared)
            except SepvoxError as error:
                found[entry] = str(error)
    return found


def _plan(
    experiment: ClassesExperiment,
    settings: ClassTrainSettings,
    model: str,
    prepared: Mapping[str, tuple[Triple, World]],
) -> Plan:
    learned = [prepared[name] for name in experiment.named(model, "train") if name in prepared]
    if not learned:
        raise ConfigError("none of the training subjects can be prepared; mend what is odd about them")
    shapes, spacings = zip(*learned, strict=True)
    return plan(
        shapes,
        spacings,
        open_network(experiment),
        int(settings.memory * _GIB),
        patch=settings.patch,
        batch=settings.batch,
        value_bytes=2 if settings.precision == "bfloat16" else 4,
    )


def open_network(experiment: ClassesExperiment) -> NetworkSettings:
    """The architecture with its channels, or that of the weights to start from; pooling may be open.

    Raises
    ------
    InputError
        If the weights or their config.json are missing or not of sepvox.
    ConfigError
        If a network named by its paper has other channels.
    """
    given = experiment.network
    if given.weights is not None:
        return resolved(NetworkSettings(weights=given.weights))
    return given.with_channels(len(experiment.modalities), len(experiment.classes))
