"""What predict works on, and its two ends: laying out affinities.zarr and finishing it. Nothing here needs torch."""

from dataclasses import dataclass
from pathlib import Path

from sepvox import markers, ome_zarr
from sepvox.blocks import Lattice, fitting_block
from sepvox.blockwise import Blockwise
from sepvox.errors import ConfigError
from sepvox.experiments.neurons import NeuronsExperiment
from sepvox.layout import Layout
from sepvox.nets.geometry import Geometry, geometry
from sepvox.nets.model_config import resolved
from sepvox.nets.settings import NetworkSettings
from sepvox.ome_zarr import Spec
from sepvox.predict.settings import PredictSettings
from sepvox.prepare.volume import PreparedVolume, open_prepared
from sepvox.settings import Offset
from sepvox.storage import Place
from sepvox.versions import VERSIONS


@dataclass(frozen=True)
class PredictJob:
    """Everything about one model on one volume."""

    layout: Layout
    volume: PreparedVolume
    settings: PredictSettings
    network: NetworkSettings
    weights: Path
    net: Geometry
    store: Place
    spec: Spec
    step: Blockwise

    @property
    def offsets(self) -> tuple[Offset, ...]:
        """Offsets of the channels that are stored."""
        return self.network.offsets if self.settings.long_range else self.network.offsets[:3]


def predict_job(experiment: NeuronsExperiment, model: str, name: str, results: Path) -> PredictJob:
    layout = experiment.layout(results)
    volume = open_prepared(experiment, layout, name)
    path = experiment.model_weights(results, model)
    network = resolved(NetworkSettings(weights=str(path)))
    net = geometry(network)
    settings = experiment.predict
    if settings.mode == "exact":
        _check_exact(net, experiment, volume)
    block = fitting_block("predict.block", settings.block, [experiment.prepare.shard], volume.shape)
    offsets = network.offsets if settings.long_range else network.offsets[:3]
    spec = Spec(
        shape=volume.shape,
        dtype="uint8",
        geometry=volume.geometry,
        chunk=experiment.prepare.chunk,
        shard=experiment.prepare.shard,
        channels=tuple("affinity " + " ".join(str(step) for step in offset) for offset in offsets),
    )
    made = markers.fingerprint(
        "predict",
        VERSIONS["predict"],
        settings.model_dump(mode="json", exclude=settings.free | {"block"}),
        experiment.prepare.model_dump(mode="json", include={"chunk", "shard"}),
        block,
        network.model_dump(mode="json"),
        markers.file_fingerprint(path),
        volume.fingerprint,
    )
    step = Blockwise(
        "predict",
        Lattice(volume.shape, block),
        layout.step("predict", model, name),
        made,
        layout.blocks("predict", model, name),
    )
    return PredictJob(layout, volume, settings, network, path, net, layout.affinities(model, name), spec, step)


def _check_exact(net: Geometry, experiment: NeuronsExperiment, volume: PreparedVolume) -> None:
    if not net.exact_ok:
        raise ConfigError(
            f"predict.mode: exact is not possible: {net.reason}; use `mode: blend`, or norm none or batch"
        )
    for axis, halo, begin, end, size in zip(
        "zyx", net.halo, volume.region.begin, volume.region.end, volume.image.shape, strict=True
    ):
        if min(begin or halo, size - end or halo) < halo and experiment.prepare.context < halo:
            raise ConfigError(
                f"prepare.context: {experiment.prepare.context} is less than the network's halo of {halo} along {axis}; raise it to {halo}"
            )


def create(experiment: NeuronsExperiment, model: str, volume: str, results: Path, restart: bool) -> None:
    """Lay out affinities.zarr."""
    job = predict_job(experiment, model, volume, results)
    job.step.create(job.store, lambda: ome_zarr.create(job.store, job.spec), restart)


def finish(experiment: NeuronsExperiment, model: str, volume: str, results: Path) -> None:
    """Write the metadata of affinities.zarr once every block is there."""
    job = predict_job(experiment, model, volume, results)
    described = {
        "offsets": [list(offset) for offset in job.offsets],
        "convention": "channel k at a voxel is the affinity to the voxel + offsets[k]; 255 is the same object",
        "weights": markers.file_fingerprint(job.weights),
        "fingerprint": job.step.fingerprint,
    }
    job.step.finish(lambda: ome_zarr.finish(job.store, job.spec, described))
