"""The network that a name, an experiment or a config.json stands for, as far as it is known before anything is trained.

For the task classes training *plans* the pooling, and with it the depth, where the experiment gives none: they follow from
shapes and voxel sizes of the subjects, which are not looked at here. All else is known from the experiment alone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter

from sepvox.config import load
from sepvox.errors import ConfigError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.inspect.plans import open_network
from sepvox.nets.classifiers import CLASSIFIER_NAMES
from sepvox.nets.clip_networks import CLIP_NETWORK_NAMES
from sepvox.nets.model_config import read_network, resolved
from sepvox.nets.settings import NetworkName, NetworkSettings


@dataclass(frozen=True)
class KnownNetwork:
    """A network, and what of it is not settled yet.

    Attributes
    ----------
    network : NetworkSettings
        The architecture; what is planned has its default.
    source : str
        The name or file that stands for it.
    model : str or None
        Which model of an experiment it belongs to.
    models : tuple of str
        All models of the experiment.
    planned : tuple of str
        Keys of `network` that training plans.
    planned_network : Path or None
        The config.json that will describe the planned network, once it is trained.
    """

    network: NetworkSettings
    source: str
    model: str | None = None
    models: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    planned_network: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """What is said of the network beside its description."""
        path = None if self.planned_network is None else str(self.planned_network)
        return {"model": self.model, "planned": list(self.planned), "planned_network": path}


def network_of(name: str, model: str | None, results: Path) -> KnownNetwork:
    """The network that `name` stands for.

    Parameters
    ----------
    name : str
        A network's name, an experiment's YAML file, or weights or the config.json beside them.
    model : str or None
        A model of the experiment; its first one where None.
    results : Path
        Folder of all results.

    Raises
    ------
    ConfigError
        If there is no such name, file or model, or the experiment is wrong.
    InputError
        If config.json or the weights that the experiment names are missing or not of sepvox.
    """
    path = Path(name)
    if name in get_args(NetworkName):
        found = KnownNetwork(NetworkSettings(name=TypeAdapter(NetworkName).validate_python(name)), name)
    elif not path.exists():
        known = ", ".join((*get_args(NetworkName), *CLASSIFIER_NAMES, *CLIP_NETWORK_NAMES))
        raise ConfigError(
            f"model {name}: neither a file nor one of {known} (C1, C2: numbers of filters; the last {len(CLIP_NETWORK_NAMES)} also with -pmsc-M-N or -tt behind)"
        )
    elif path.name == "config.json" or path.suffix == ".safetensors":
        found = KnownNetwork(read_network(path.with_name("config.json"), "model"), name)
    else:
        return _of_experiment(path, model, results)
    if model is not None:
        raise ConfigError(f"--model {model}: {name} is one network and no experiment; leave it out")
    return found


def _of_experiment(path: Path, model: str | None, results: Path) -> KnownNetwork:
    experiment = load(path)
    models = tuple(experiment.runs())
    chosen = model or models[0]
    variant = experiment.variant(chosen)
    if not isinstance(variant, ClassesExperiment):
        return KnownNetwork(resolved(variant.network), str(path), chosen, models)
    found = KnownNetwork(open_network(variant), str(path), chosen, models)
    if not variant.network.pooling_is_open:
        return found
    where = experiment.layout(results).model_config(chosen)
    return KnownNetwork(found.network, str(path), chosen, models, ("pooling", "depth"), where)


def notes(known: KnownNetwork) -> list[str]:
    """What a reader of the description has to know beside it, one line each."""
    found = []
    if len(known.models) > 1:
        found.append(f"This is {known.model}, one of {len(known.models)} models; --model NAME shows another.")
    if known.planned:
        found.append(
            f"Not settled: {' and '.join(known.planned)}, which training plans from the subjects' shapes and voxel sizes; "
            f"shown are {known.network.depth} poolings of 2 x 2 x 2. `sepvox inspect {known.source}` shows the plan; once "
            f"trained, the planned network is in {known.planned_network}."
        )
    return found
