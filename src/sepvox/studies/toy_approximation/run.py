"""Train the students of a toy approximation, unit by unit.

A *unit* is one student with one seed. It can be trained by itself, beside others; its state is kept in models/UNIT/state,
and metrics.jsonl beside that is its history once it is finished.
"""

from dataclasses import dataclass
from pathlib import Path

from sepvox import markers
from sepvox.errors import ConfigError
from sepvox.layout import Layout
from sepvox.studies.toy_approximation.settings import STUDENTS, Student, ToyStudy
from sepvox.studies.toy_approximation.training import train_student, write_history
from sepvox.versions import VERSIONS

STEP = "toy"


@dataclass(frozen=True)
class Unit:
    """One student with one seed of a study."""

    study: ToyStudy
    layout: Layout
    student: Student
    seed: int

    @property
    def model(self) -> str:
        return f"{self.student.name}-seed{self.seed}"

    @property
    def history(self) -> Path:
        return self.layout.metrics(self.model)

    @property
    def marker(self) -> Path:
        return self.layout.done(STEP, self.model)

    def fingerprint(self) -> str:
        return markers.fingerprint(STEP, VERSIONS[STEP], self.study.learned(), self.student.name, self.seed)

    def is_done(self) -> bool:
        return self.history.exists() and markers.is_done(self.marker, self.fingerprint())

    def train(self, restart: bool) -> None:
        """Train to the end, unless that has been done."""
        with markers.locked(self.layout.model(self.model) / ".lock"):
            if self.is_done():
                return
            state, made = self.layout.state(self.model), self.fingerprint()
            if state.exists() and not markers.is_done(state / "run.json", made):
                markers.set_aside(state, restart, "holds a training with other settings")
            markers.mark(state / "run.json", made)
            trained = train_student(self.study, self.student, self.seed, state)
            write_history(self.history, trained.history)
            constant = {"loss": trained.constant_loss, "accuracy": trained.constant_accuracy}
            markers.mark(self.marker, made, device=trained.device, constant=constant)


def units(study: ToyStudy, results: Path) -> list[Unit]:
    """All units of a study, those of a student together."""
    layout = Layout(results / study.experiment)
    return [Unit(study, layout, student, seed) for student in STUDENTS for seed in study.seeds]


def train_toy(
    study: ToyStudy, results: Path, student: str | None = None, seed: int | None = None, restart: bool = False
) -> None:
    """Train the units of a study one after the other, or those of one student or seed; what is finished is kept.

    Raises
    ------
    ConfigError
        If the study has no such student or seed, or asks for a device that is not there.
    InputError
        If a loss is no longer a number.
    StaleError
        If there are trainings of other settings and `restart` is false.
    StoreError
        If another process trains the same unit, or a checkpoint is damaged.
    """
    names = [each.name for each in STUDENTS]
    if student is not None and student not in names:
        raise ConfigError(f"--student {student}: no such student; choose one of {', '.join(names)}")
    if seed is not None and seed not in study.seeds:
        raise ConfigError(f"--seed {seed}: not one of the study's `seeds`, {', '.join(map(str, study.seeds))}")
    for unit in units(study, results):
        if student in (None, unit.student.name) and seed in (None, unit.seed):
            unit.train(restart)
