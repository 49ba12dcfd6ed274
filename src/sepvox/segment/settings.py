"""Settings of the segment step."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sepvox.settings import Halo, NonNegative, Positive, Probability, Settings, Shape

QUANTILES = (10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 80, 85, 90, 95)
SCORINGS = (
    "mean",
    *(f"histogram-quantile{q}" for q in QUANTILES),
    *(f"histogram-quantile{q}-initmax" for q in QUANTILES),
    "relative-size",
)


class FragmentSettings(Settings):
    """Oversegmentation by watershed, on a lattice of cells."""

    method: Literal["distance", "waterz"] = Field(
        "distance",
        description="distance: watershed from maxima of the boundary's distance transform; waterz: its own watershed on the affinity graph.",
    )
    by_section: bool = Field(False, description="Work in each z section alone (for anisotropic volumes).")
    cell: Shape = Field(
        (128, 128, 128), description="Lattice on which fragments are computed; part of the method, unlike the block."
    )
    halo: Halo = Field((16, 16, 16), description="Affinities read around a cell.")
    boundary_threshold: Probability = Field(
        0.5, description="A voxel is boundary where its mean affinity is below this."
    )
    seed_distance: NonNegative = Field(4, description="Least distance between two seeds, in voxels.")
    seed_smoothing: Annotated[float, Field(ge=0)] = Field(
        1.0, description="Standard deviation by which the distance transform is smoothed, in voxels."
    )
    background_threshold: Probability = Field(
        0.0, description="Voxels of a mean affinity below this stay 0; 0 fills everything."
    )
    waterz_thresholds: tuple[Probability, Probability] | None = Field(
        None, description="Low and high threshold of waterz's watershed; by default quantiles of the affinities."
    )
    minimum_size: NonNegative = Field(
        100, description="Fragments of fewer voxels are merged into their best neighbour of the same cell."
    )

    @model_validator(mode="after")
    def _low_before_high(self) -> Self:
        if self.waterz_thresholds is not None and self.waterz_thresholds[0] >= self.waterz_thresholds[1]:
            raise ValueError(f"waterz_thresholds: {list(self.waterz_thresholds)}: the first must be below the second")
        return self


class AgglomerateSettings(Settings):
    """Merging of fragments by their affinities."""

    backend: Literal["waterz", "mean"] = Field(
        "waterz",
        description="waterz: any scoring, in each cell with context; mean: mean affinities over whole contacts, the same for every cut of the volume.",
    )
    scoring: str = Field(
        "histogram-quantile50",
        description="Merge score: mean, relative-size, or histogram-quantileQ with Q of 10, 15, 20, … 95 (256 bins); with -initmax an edge keeps only its largest affinity.",
    )
    cell: Shape = Field(
        (256, 256, 256), description="Lattice on which merge scores are computed, a multiple of the fragments' cell."
    )
    context: Positive = Field(32, description="Voxels around a cell that take part in its agglomeration.")
    thresholds: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (*(round(0.05 * i, 2) for i in range(1, 20)), 0.97, 0.98, 0.99),
        description="Thresholds on the merge score (1 - affinity) that are scored; regions merge below it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _scoring_of_backend(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("backend") == "mean":
            return {"scoring": "mean"} | given
        return given

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.backend == "mean" and self.scoring != "mean":
            raise ValueError(
                f"scoring: {self.scoring!r} where backend mean has mean only; remove it, or use backend waterz"
            )
        if self.scoring not in SCORINGS:
            raise ValueError(
                f"scoring: {self.scoring!r} is not precompiled in waterz; choose mean, relative-size, or histogram-quantileQ[-initmax] with Q one of {', '.join(map(str, QUANTILES))}"
            )
        if list(self.thresholds) != sorted(set(self.thresholds)) or not self.thresholds:
            raise ValueError("thresholds must be a rising list without repeats")
        return self


class SegmentSettings(Settings):
    """From affinities to instances."""

    fragments: FragmentSettings = Field(FragmentSettings(), description="Oversegmentation.")
    agglomerate: AgglomerateSettings = Field(AgglomerateSettings(), description="Agglomeration.")
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="Merge threshold of the segmentation; chosen on the validation volumes, or taken from beside the weights, by default.",
    )
    minimum_size: NonNegative = Field(0, description="Segments of fewer voxels become background.")
    block: Shape | None = Field(
        None, description="Voxels handled as one unit of resuming; a multiple of cells and shards, chosen by default."
    )
    slices: Positive = Field(1, description="Jobs per volume and step.")
    processes: Positive = Field(1, description="Processes per job.")

    @model_validator(mode="after")
    def _cells_nest(self) -> Self:
        for axis, big, small in zip("zyx", self.agglomerate.cell, self.fragments.cell, strict=True):
            if big % small:
                raise ValueError(f"agglomerate.cell: axis {axis} is {big}, not a multiple of fragments.cell's {small}")
        return self


class ClassifySettings(Settings):
    """From class probabilities to class maps in native space."""

    clean_up: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Keep only the largest component of a class: where that raises the validation Dice, always, or never.",
    )
    slices: Positive = Field(1, description="Jobs per model over which the subjects are divided.")
    processes: Positive = Field(1, description="Processes per job.")
