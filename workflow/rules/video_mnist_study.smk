"""The study Video-MNIST as the rules see it: its trainings, and what each of them depends on."""

from sepvox.studies.video_mnist.clips import SPLITS
from sepvox.studies.video_mnist.settings import read_study
from sepvox.studies.video_mnist.units import candidate_units, chosen_at, reported_units

VIDEO_MNIST = study_settings("video-mnist", read_study)
try:
    VIDEO_MNIST_TABLE = VIDEO_MNIST.with_table()
except SepvoxError as error:
    refuse(error)

VIDEO_MNIST_LAYOUT = Layout(RESULTS / VIDEO_MNIST.experiment)
STUDY_RESULTS["study_video_mnist"] = f"Table:          {VIDEO_MNIST_LAYOUT.study('table.md')}, its figure beside it"
VIDEO_MNIST_CANDIDATES = {unit.name: unit for unit in candidate_units(VIDEO_MNIST_TABLE)}
VIDEO_MNIST_UNITS = VIDEO_MNIST_CANDIDATES | {unit.name: unit for unit in reported_units(VIDEO_MNIST_TABLE)}


def video_mnist_digits(wildcards):
    """The file that the videos are made of, where there is one; one that is missing is told by the step."""
    images = VIDEO_MNIST.videos.images
    return [images] if images is not None and Path(images).exists() else []


def unit_options(wildcards):
    """Which training a job is."""
    unit = VIDEO_MNIST_UNITS[wildcards.unit]
    rate = [] if unit.rate is None else ["--rate", repr(unit.rate)]
    return shlex.join(["--network", unit.network, "--videos", str(unit.videos), "--run", str(unit.run), *rate])


def unit_settings(wildcards):
    """What comes of a training depends on this, and on the rate that was chosen for it."""
    unit, train, test = VIDEO_MNIST_UNITS[wildcards.unit], VIDEO_MNIST_TABLE.train, VIDEO_MNIST_TABLE.test
    return {
        "network": unit.classifier(VIDEO_MNIST_TABLE).name,
        "rates": train.rates(unit.network) if unit.rate is None else [unit.rate],
        "chosen_at": chosen_at(VIDEO_MNIST_TABLE, unit.network, unit.videos) if chosen_rates(wildcards) else None,
        "train": settings(train, exclude=train.free),
        "test": (test.videos, unit.run < test.whole_runs) if unit.rate is None else None,
    }


def chosen_rates(wildcards):
    """The learning rates, where that of the training was to be chosen."""
    unit = VIDEO_MNIST_UNITS[wildcards.unit]
    several = len(VIDEO_MNIST_TABLE.train.rates(unit.network)) > 1
    return [VIDEO_MNIST_LAYOUT.learning_rates()] if several and unit.rate is None else []


def trained(units):
    """Markers of trainings."""
    return [VIDEO_MNIST_LAYOUT.done("video-mnist-train", unit) for unit in units]
