"""The study of video classification as the rules see it: its trainings, and what each of them depends on."""

from sepvox.errors import InputError
from sepvox.studies.video_classification.folder import folder_fingerprint
from sepvox.studies.video_classification.settings import read_study

VIDEO = study_settings("video", read_study)
VIDEO_LAYOUT = Layout(RESULTS / VIDEO.experiment)
STUDY_RESULTS["study_video"] = (
    f"Table:          {VIDEO_LAYOUT.study('table.csv')}, its figure in {VIDEO_LAYOUT.figures()}"
)


def video_sources(wildcards):
    """The file that the digits or the list of test videos are in; one that is missing is told by the step."""
    file = VIDEO.mnist.images if VIDEO.folder is None else VIDEO.folder.test_list
    return [file] if file is not None and Path(file).exists() else []


def video_files(wildcards):
    """What the videos of a folder are known by; what is wrong with it is told by the step."""
    try:
        return None if VIDEO.folder is None else folder_fingerprint(VIDEO.folder)
    except InputError:
        return None


def video_unit_settings(wildcards):
    """What a unit is trained with."""
    label, _ = VIDEO.units()[wildcards.unit]
    train = settings(VIDEO.train, exclude=VIDEO.train.free)
    return [VIDEO.networks[label], VIDEO.width, settings(VIDEO.clip), train]


def video_units():
    """The results of all units, and the files beside them that tables and figures are made from."""
    files = (VIDEO_LAYOUT.result, VIDEO_LAYOUT.metrics, VIDEO_LAYOUT.weights)
    return [file(unit) for unit in VIDEO.units() for file in files]


def video_figures():
    """The figures of the study, and what they show."""
    streams = {VIDEO_LAYOUT.streams(label): f"first layer of {label}" for label in VIDEO.networks}
    return {VIDEO_LAYOUT.figures() / "accuracy.png": "video classification", **streams}
