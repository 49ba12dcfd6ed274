"""The experiment of task `neurons`: volumes, affinities, instances."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from sepvox import storage
from sepvox.experiments.base import Experiment
from sepvox.nets.geometry import geometry
from sepvox.nets.settings import NeuronNetworkSettings
from sepvox.predict.settings import PredictSettings
from sepvox.prepare.settings import PrepareSettings, Role, VolumeSettings
from sepvox.score.settings import ScoreSettings
from sepvox.segment.settings import SegmentSettings
from sepvox.settings import Name
from sepvox.train.settings import TrainSettings


class NeuronsExperiment(Experiment):
    """Everything that one run of the workflow does to make neurons of EM volumes."""

    task: Literal["neurons"] = Field("neurons", description="neurons: affinities to instances.")
    volumes: dict[Name, VolumeSettings] = Field(min_length=1, description="Volumes by name.")
    prepare: PrepareSettings = Field(PrepareSettings(), description="Layout of stores.")
    network: NeuronNetworkSettings = Field(NeuronNetworkSettings(), description="Network.")
    train: TrainSettings | None = Field(None, description="Training; leave out to apply network.weights.")
    predict: PredictSettings = Field(PredictSettings(), description="Prediction.")
    segment: SegmentSettings = Field(SegmentSettings(), description="Segmentation.")
    score: ScoreSettings = Field(ScoreSettings(), description="Scoring.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.train is not None and not self.named("train"):
            raise ValueError("a `train` section needs at least one volume of `role: train`")
        if self.train is not None and not self.named("validate"):
            raise ValueError(
                "a `train` section needs at least one volume of `role: validate`, on which the best checkpoint and the threshold are chosen"
            )
        blocks = {"predict.block": self.predict.block, "segment.block": self.segment.block}
        for key, block in blocks.items():
            for axis, size, shard in zip("zyx", block or (), self.prepare.shard, strict=False):
                if size % shard:
                    raise ValueError(
                        f"{key}: axis {axis} is {size}, not a multiple of prepare.shard's {shard}; use {size + -size % shard}"
                    )
        for model in self.runs():
            variant = self.variant(model)
            variant._check_weights()
            variant._check_network()
            variant._check_patch()
        return self

    def _check_network(self) -> None:
        """What tiling and patches ask of the network; of given weights only prediction knows the architecture."""
        if self.network.weights is not None:
            return
        net = geometry(self.network)
        if self.predict.mode == "exact" and not net.exact_ok:
            raise ValueError(
                f"predict.mode: exact is not possible: {net.reason}; use `mode: blend`, or norm none or batch"
            )
        cut = any(volume.region for volume in self.volumes.values())
        if self.predict.mode == "exact" and cut and self.prepare.context < max(net.halo):
            raise ValueError(
                f"prepare.context: {self.prepare.context} is less than the network's halo of {max(net.halo)}; raise it to {max(net.halo)}"
            )
        if self.train is not None and net.admissible(self.train.patch) != self.train.patch:
            larger = list(net.admissible(self.train.patch))
            raise ValueError(
                f"train.patch: the network does not take {list(self.train.patch)}; the next larger patch that it takes is {larger}"
            )

    def _check_patch(self) -> None:
        for name, volume in self.volumes.items():
            shape: Sequence[int] | None = volume.phantom.shape if volume.phantom else None
            if volume.region:
                shape = [end - begin for begin, end in volume.region]
            if volume.role == "train" and self.train is not None and shape is not None:
                for axis, size, patch in zip("zyx", shape, self.train.patch, strict=True):
                    if patch > size:
                        raise ValueError(
                            f"train.patch: axis {axis} is {patch}, larger than the {size} voxels of volume {name}; use a smaller patch"
                        )

    def named(self, *roles: Role) -> list[str]:
        """Names of the volumes of these roles, in the file's order."""
        return [name for name, volume in self.volumes.items() if volume.role in roles]

    def predicted(self) -> list[str]:
        """Names of the volumes that are predicted and segmented."""
        return self.named("validate", "test", "apply")

    def labelled(self) -> list[str]:
        """Names of the predicted volumes that have ground truth and are scored."""
        return [name for name in self.predicted() if self.has_truth(name)]

    def has_truth(self, volume: str) -> bool:
        settings = self.volumes[volume]
        return settings.labels is not None or settings.phantom is not None

    def source_addresses(self, volume: str) -> dict[str, str]:
        """Addresses that the volume is read from, by the key of the configuration."""
        found = {key: getattr(self.volumes[volume], key) for key in ("image", "labels", "mask")}
        return {key: text for key, text in found.items() if text is not None and storage.is_address(text)}

    def source_files(self, volume: str) -> list[Path]:
        """Local files whose change makes the volume be prepared again."""
        settings = self.volumes[volume]
        files: list[Path] = []
        for path in (settings.image, settings.labels, settings.mask):
            if path is None or storage.is_address(path):
                continue
            pattern = not Path(path).exists() and glob.has_magic(path)
            # Path.glob takes no absolute pattern.
            found = [Path(p) for p in sorted(glob.glob(path, recursive=True))] if pattern else [Path(path)]  # noqa: PTH207
            for file in found:
                metadata = [
                    file / name for name in ("zarr.json", ".zgroup", ".zarray", ".zattrs") if (file / name).exists()
                ]
                files.extend(metadata or [file])
        return list(dict.fromkeys(files))
