"""Settings of the score step."""

from pydantic import Field

from sepvox.settings import NonNegative, Positive, Settings


class ScoreSettings(Settings):
    """How a segmentation is compared with ground truth."""

    ignore_border: NonNegative = Field(
        0,
        description="Voxels nearer than this to a border between two ground-truth objects, within a section, are not scored.",
    )
    processes: Positive = Field(1, description="Processes that count voxels.")


class ClassScoreSettings(Settings):
    """How class maps are compared with label maps."""

    processes: Positive = Field(1, description="Processes per job.")
