"""Settings of the prepare step: volumes, phantoms, and the layout of stores."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sepvox import storage
from sepvox.settings import NonNegative, Positive, PositiveFloat, Probability, Settings, Shape, Span

Role = Literal["train", "validate", "test", "apply"]


class EMPhantomSettings(Settings):
    """A synthetic EM volume with exact ground truth; lengths in voxels of the y and x axes."""

    kind: Literal["em"] = Field("em", description="Kind of phantom.")
    shape: Shape = Field(description="Shape in voxels, z y x.")
    seed: NonNegative = Field(0, description="Seed; the same seed gives the same volume however it is cut.")
    neurite_spacing: PositiveFloat = Field(18.0, description="Mean distance between neighbouring neurites, in voxels.")
    membrane_width: PositiveFloat = Field(3.4, description="Mean thickness of a membrane, in voxels.")
    noise: Annotated[float, Field(ge=0)] = Field(
        0.037, description="Standard deviation of the noise, as a fraction of the grey range."
    )
    blur: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = Field(
        (1.0, 0.9, 0.9), description="Standard deviation of the imaging blur in voxels, z y x."
    )
    organelles: Annotated[float, Field(ge=0)] = Field(1.0, description="Density of organelles, 1 is dense neuropil.")
    misalignment: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Standard deviation of the shift of a section, in voxels."
    )
    missing_sections: Probability = Field(0.0, description="Fraction of z sections that are blank.")
    anisotropy: PositiveFloat = Field(1.0, description="Distance of sections, in voxels of the y and x axes.")


class VolumeSettings(Settings):
    """One volume: where its voxels come from and what it is used for."""

    role: Role = Field(description="What the volume is used for: train, validate, test or apply.")
    phantom: EMPhantomSettings | None = Field(None, description="Make the volume instead of reading it.")
    image: str | None = Field(
        None,
        description="Image file: .h5, .tif, a glob of .tif sections, .nii, .npy, .npz, or a Zarr or OME-Zarr folder; of Zarr also an address at s3://, https:// or http://.",
    )
    key: str | None = Field(None, description="Dataset inside the image file, for HDF5, .npz and Zarr groups.")
    labels: str | None = Field(
        None,
        description="File or address of ground-truth instance labels, of the image's shape or the region's.",
    )
    labels_key: str | None = Field(None, description="Dataset inside the labels file.")
    mask: str | None = Field(None, description="File or address that is not 0 where the volume is to be segmented.")
    mask_key: str | None = Field(None, description="Dataset inside the mask file.")
    axes: Literal["zyx", "xyz"] = Field("zyx", description="Order of the axes in the files.")
    region: tuple[Span, Span, Span] | None = Field(
        None,
        description="Part that is trained on, written and scored: [begin, end) per axis z y x; image context beyond it is still read.",
    )
    voxel_size: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(
        None, description="Edge lengths of a voxel, z y x, in `unit`; read from the file where it has them, else 1."
    )
    unit: Literal["nanometer", "micrometer", "millimeter"] | None = Field(None, description="Unit of voxel_size.")
    split_labels: bool = Field(
        False, description="Give each connected component of a label inside the region its own label."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        for source in ("image", "labels", "mask"):
            wrong = None if getattr(self, source) is None else storage.mistake(getattr(self, source))
            if wrong is not None:
                raise ValueError(f"{source}: {wrong}")
        if (self.phantom is None) == (self.image is None):
            raise ValueError("give exactly one of `image` and `phantom`")
        for name, key in (("labels", self.labels_key), ("mask", self.mask_key)):
            if key is not None and getattr(self, name) is None:
                raise ValueError(f"`{name}_key` is given without `{name}`")
        if self.phantom is not None and (self.labels or self.mask or self.region or self.key):
            raise ValueError("a phantom brings its own labels and shape: remove labels, mask, region and key")
        if self.role in ("train", "validate") and self.phantom is None and self.labels is None:
            raise ValueError(f"a volume of role {self.role} needs `labels`")
        if self.phantom is None and (self.voxel_size is None) != (self.unit is None):
            raise ValueError("give voxel_size and unit together, or neither to take both from the file")
        for axis, span in zip("zyx", self.region or (), strict=False):
            if span[0] >= span[1]:
                raise ValueError(
                    f"region: axis {axis} is [{span[0]}, {span[1]}), which is empty; begin must be below end"
                )
        return self


class StoreSettings(Settings):
    """Layout of every store of the experiment."""

    chunk: Shape = Field((64, 64, 64), description="Zarr chunk, the unit of reading, z y x.")
    shard: Shape = Field((128, 128, 128), description="Zarr shard, the unit of writing, a multiple of the chunk.")
    levels: Positive | None = Field(
        None, description="Levels of the multiscale pyramid; by default until every axis is at most one shard."
    )

    @model_validator(mode="after")
    def _shard_of_chunks(self) -> Self:
        for axis, shard, chunk in zip("zyx", self.shard, self.chunk, strict=True):
            if shard % chunk:
                raise ValueError(f"shard: axis {axis} is {shard}, not a multiple of the chunk's {chunk}")
        return self


class PrepareSettings(StoreSettings):
    """Layout of every store of the experiment, how much is kept around a region, and how the work is divided."""

    context: NonNegative = Field(
        64, description="Voxels of image kept beyond a region, where there are any; at least the network's halo."
    )
    processes: Positive = Field(1, description="Processes that prepare a volume.")


class ScanPrepareSettings(StoreSettings):
    """Grid and intensities of prepared scans, and layout of their stores."""

    spacing: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(
        None, description="Voxel size in mm, z y x, to which scans are resampled; each keeps its own by default."
    )
    crop: bool = Field(True, description="Crop to the box of voxels that are not 0.")
    normalisation: Literal["zscore", "percentiles"] = Field(
        "zscore",
        description="Intensities inside the foreground: mean 0 and standard deviation 1, or 0.5th to 99.5th percentile to -1 to 1.",
    )
    foreground: Literal["otsu", "nonzero"] = Field(
        "otsu",
        description="Voxels that normalisation looks at: those above Otsu's threshold, or those that are not 0 (for images without skull).",
    )
    slices: Positive = Field(1, description="Jobs over which the subjects are divided.")
    processes: Positive = Field(1, description="Processes per job.")
