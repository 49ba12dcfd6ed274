"""The studies of video classification that the rules know, each a file in configs/studies."""

from functools import cache

VIDEO_STUDIES = ("video", "video-published")
# Every path of such a study, whatever its name.
VIDEO = Layout(RESULTS / "{study}")


def video_config(name):
    return Path(workflow.basedir) / "configs" / "studies" / f"{name}.yaml"


@cache
def video_study(name):
    """The settings of a study, read where one of its files is asked for."""
    from sepvox.config import load_study
    from sepvox.studies.video_classification.settings import FILES, VideoStudy

    try:
        return load_study(video_config(name), VideoStudy, FILES)
    except SepvoxError as error:
        refuse(error)


def video_arguments(wildcards, output):
    """The arguments that every part takes; as a function of `output` they are not compared with the last run's."""
    return shlex.join([str(video_config(wildcards.study)), "--results", str(RESULTS)])


def video_sources(wildcards):
    """What the videos are made from, or which they are."""
    return video_study(wildcards.study).model_dump(mode="json", include={"mnist", "folder"})


def video_unit_settings(wildcards):
    """What a unit is trained with."""
    study = video_study(wildcards.study)
    label, _ = study.units()[wildcards.unit]
    train = study.train.model_dump(mode="json", exclude=study.train.free)
    return [study.networks[label], study.width, study.clip.model_dump(mode="json"), train]


def video_units(wildcards):
    """The results of all units of a study, and the files beside them that tables and figures are made from."""
    layout = Layout(RESULTS / wildcards.study)
    files = (layout.result, layout.metrics, layout.weights)
    return [file(unit) for unit in video_study(wildcards.study).units() for file in files]
