"""The fingerprint of a data set: what all its subjects hold, what is odd about them, and what training would choose.

Nothing is written and nothing refused: a file that prepare would refuse is an oddity like others.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from tqdm import tqdm

from sepvox import blockwise
from sepvox.experiments.classes import ClassesExperiment
from sepvox.inspect.listing import listed, modalities_of
from sepvox.inspect.measure import SubjectMeasures, measure
from sepvox.inspect.oddities import Oddity, oddities_of
from sepvox.inspect.plans import plans_of
from sepvox.train.plan import Plan

# Below so many subjects a process takes longer to start than it saves.
_SUBJECTS_PER_PROCESS = 32


@dataclass(frozen=True, eq=False)
class DatasetFingerprint:
    """All subjects of an experiment.

    Attributes
    ----------
    experiment : str
        Its name.
    modalities : tuple of str
    classes : mapping of str to int
        Declared values.
    subjects : tuple of SubjectMeasures
    oddities : tuple of Oddity
        The most severe first.
    plans : mapping of str to Plan or str
        What `sepvox.train.plan` chooses for each network, or why it cannot; empty where nothing is trained.
    """

    experiment: str
    modalities: tuple[str, ...]
    classes: Mapping[str, int]
    subjects: tuple[SubjectMeasures, ...]
    oddities: tuple[Oddity, ...]
    plans: Mapping[str, Plan | str]


def inspect_subjects(experiment: ClassesExperiment, processes: int | None = None) -> DatasetFingerprint:
    """Read every scan of the experiment and judge them.

    Parameters
    ----------
    processes : int, optional
        By default as many as there are cores, each with 32 subjects or more.

    Raises
    ------
    ConfigError
        If the subjects cannot be listed: a table without the columns, a pattern that no file matches.
    """
    people = listed(experiment)
    count = processes or max(1, min(os.cpu_count() or 1, len(people) // _SUBJECTS_PER_PROCESS))
    with blockwise.processes(count) as executor:
        work = partial(measure, experiment)
        made = map(work, people) if executor is None else executor.map(work, people)
        subjects = tuple(tqdm(made, total=len(people), unit="subject", desc="inspect", mininterval=1))
    prepared = {subject.name: subject.prepared for subject in subjects if subject.prepared is not None}
    return DatasetFingerprint(
        experiment=experiment.experiment,
        modalities=modalities_of(experiment),
        classes=experiment.classes,
        subjects=subjects,
        oddities=oddities_of(subjects, experiment.classes, experiment.prepare.spacing),
        plans=plans_of(experiment, prepared),
    )
