"""The experiment of task `classes`: subjects, class probabilities, class maps in native space."""

from dataclasses import replace
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from sepvox.errors import ConfigError, InputError
from sepvox.experiments.base import Experiment
from sepvox.experiments.split import SplitSettings, roles_of
from sepvox.experiments.subject import Subject
from sepvox.experiments.subjects import SubjectsSettings, read_subjects
from sepvox.layout import Layout
from sepvox.nets.geometry import geometry
from sepvox.nets.settings import ClassNetworkSettings
from sepvox.predict.settings import ClassPredictSettings
from sepvox.prepare.settings import Role, ScanPrepareSettings
from sepvox.score.settings import ClassScoreSettings
from sepvox.segment.settings import ClassifySettings
from sepvox.settings import Classes
from sepvox.train.class_settings import ClassTrainSettings

ENSEMBLE = "ensemble"


class ClassesExperiment(Experiment):
    """Everything that one run of the workflow does to make class maps of MRI scans."""

    task: Literal["classes"] = Field(description="classes: class probabilities to class maps.")
    subjects: SubjectsSettings = Field(description="Scans and label maps.")
    classes: Classes = Field(description="Values in the label maps by name; 0 is background.")
    split: SplitSettings = Field(SplitSettings(), description="Which subjects are trained, validated and tested on.")
    prepare: ScanPrepareSettings = Field(ScanPrepareSettings(), description="Grid, normalisation and stores.")
    network: ClassNetworkSettings = Field(ClassNetworkSettings(), description="Network.")
    train: ClassTrainSettings | None = Field(None, description="Training; leave out to apply network.weights.")
    predict: ClassPredictSettings = Field(ClassPredictSettings(), description="Prediction.")
    segment: ClassifySettings = Field(ClassifySettings(), description="Class decisions.")
    score: ClassScoreSettings = Field(ClassScoreSettings(), description="Scoring.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.split.group is not None and self.subjects.table is None:
            raise ValueError("split.group: is a column of subjects.table, which is not given; remove it")
        beyond = [fold for fold in self.split.run or () if fold >= (self.split.folds or 0)]
        if beyond:
            raise ValueError(f"split.run: there is no fold {beyond[0]}; folds are numbered from 0 to split.folds - 1")
        for model in self.runs():
            variant = self.variant(model)
            variant._check_weights()
            variant._check_levels()
            variant._check_patch()
        return self

    def _check_levels(self) -> None:
        if self.network.stream_widths is not None and self.network.pooling_is_open:
            raise ValueError("network.stream_widths: the number of levels is planned; give network.pooling too")

    def _check_patch(self) -> None:
        if self.train is None or self.train.patch is None or self.network.weights or self.network.pooling is None:
            return
        larger = geometry(self.network).admissible(self.train.patch)
        if larger != self.train.patch:
            raise ValueError(
                f"train.patch: the network does not take {list(self.train.patch)}; the next larger patch that it takes is {list(larger)}"
            )

    @cached_property
    def people(self) -> dict[str, Subject]:
        """All subjects by name, as the table, the patterns or the phantom say."""
        return {subject.name: subject for subject in read_subjects(self.subjects, self.split.group)}

    def on_disk(self, layout: Layout, name: str) -> Subject:
        """A subject with its files; those of a phantom are where prepare puts them."""
        person = self.people[name]
        if self.subjects.phantom is None:
            return person
        images = {contrast: layout.source(name, contrast) for contrast in self.modalities}
        return replace(person, images=images, labels=layout.source(name, "labels"))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the image channels, in their order."""
        if self.subjects.phantom is not None:
            return tuple(self.subjects.phantom.contrasts)
        if self.subjects.images is not None:
            return tuple(self.subjects.images)
        return tuple(next(iter(self.people.values())).images)

    def folds(self) -> tuple[int, ...]:
        if self.split.folds is None or self.train is None:
            return ()
        return self.split.run or tuple(range(self.split.folds))

    def has_truth(self, subject: str) -> bool:
        return self.subjects.phantom is not None or self.people[subject].labels is not None

    def roles(self, model: str) -> dict[str, Role]:
        """What each subject is to a model, or to an ensemble of all folds.

        Given weights are tested on every subject that has a label map and no role of its own.

        Raises
        ------
        ConfigError
            If there is no such model, or the subjects cannot be divided.
        InputError
            If a subject that is learned from has no labels.
        """
        if model not in self.predictors():
            raise ConfigError(f"--model {model}: the experiment has {', '.join(self.predictors())}")
        if self.train is None:
            return {
                name: person.role or ("test" if self.has_truth(name) else "apply")
                for name, person in self.people.items()
            }
        if self.is_ensemble(model):
            return {name: person.role for name, person in self.people.items() if person.role in ("test", "apply")}
        found = roles_of(list(self.people.values()), self.split, self.runs()[model].fold)
        for name, role in found.items():
            if role in ("train", "validate") and not self.has_truth(name):
                raise InputError(
                    f"subject {name}: has no labels, but its role is {role}; give its label map, or put it into the split `apply`"
                )
        return found

    def named(self, model: str, *roles: Role) -> list[str]:
        """Names of the subjects of these roles to a model."""
        return [name for name, role in self.roles(model).items() if role in roles]

    def predicted(self, model: str) -> list[str]:
        """Names of the subjects that a model predicts; those without a fold of their own are left to the ensemble."""
        if self.is_ensemble(model):
            return list(self.roles(model))
        found = self.named(model, "validate", "test", "apply")
        if self.runs()[model].fold is not None:
            held_out = {name for name, person in self.people.items() if person.role in ("test", "apply")}
            found = [name for name in found if name not in held_out]
        return found

    def ensembles(self) -> dict[str, list[str]]:
        """Names of the ensembles, and the models that each is made of: the folds of one entry and seed.

        There are none unless some subjects are in no fold.
        """
        if not self.folds() or not any(person.role in ("test", "apply") for person in self.people.values()):
            return {}
        found: dict[str, list[str]] = {}
        for run in self.runs().values():
            name = run.model.removesuffix(f"fold{run.fold}") + ENSEMBLE
            found.setdefault(name, []).append(run.model)
        return found

    def is_ensemble(self, model: str) -> bool:
        return model not in self.runs()

    def predictors(self) -> list[str]:
        """Names of all models and ensembles."""
        return [*self.runs(), *self.ensembles()]
