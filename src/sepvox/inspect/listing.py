"""The subjects of a data set as they are named, also where the files of some are missing."""

from pathlib import Path

from sepvox.experiments.classes import ClassesExperiment
from sepvox.experiments.subject import Subject, person_of
from sepvox.experiments.subjects import matches


def modalities_of(experiment: ClassesExperiment) -> tuple[str, ...]:
    """Names of the image channels, also where some subject lacks one."""
    return experiment.modalities if experiment.subjects.images is None else tuple(experiment.subjects.images)


def listed(experiment: ClassesExperiment) -> list[Subject]:
    """All subjects, also those of which a pattern matches only some files: the others are then named by the pattern.

    Raises
    ------
    ConfigError
        As `sepvox.experiments.subjects.read_subjects`, but not for a subject that lacks a file.
    """
    settings = experiment.subjects
    if settings.images is None:
        return list(experiment.people.values())
    found = {modality: matches(pattern, f"subjects.images.{modality}") for modality, pattern in settings.images.items()}
    truth = {} if settings.labels is None else matches(settings.labels, "subjects.labels")
    return [
        Subject(
            name=name,
            images={
                modality: found[modality].get(name, Path(pattern.replace("*", name)))
                for modality, pattern in settings.images.items()
            },
            labels=None if settings.labels is None else truth.get(name, Path(settings.labels.replace("*", name))),
            group=person_of(name),
        )
        for name in sorted(set(truth).union(*found.values()))
    ]
