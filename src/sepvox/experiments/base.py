"""What every experiment has, whatever its task: a name, and one model or several over the same data.

A *model* is one trained network with its own weights and outputs. Its name is made of the entry of `models` (left out
where there is none), the seed where `seeds` are given, and the fold where the data are cross-validated: `main`, `fold0`,
`dense-seed1-fold0`. A *run* says which of these a model is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError, model_validator

from sepvox import storage
from sepvox.errors import ConfigError
from sepvox.experiments.mistakes import explain
from sepvox.layout import Layout
from sepvox.nets.settings import NetworkSettings
from sepvox.settings import Name, Seed, Settings
from sepvox.train.settings import BaseTrainSettings

MAIN = "main"


class ModelSettings(Settings):
    """What one of several models has of its own."""

    network: dict[str, Any] = Field({}, description="Keys of `network` that differ for this model.")
    train: dict[str, Any] = Field({}, description="Keys of `train` that differ for this model.")


@dataclass(frozen=True)
class Run:
    """Which entry of `models`, seed and fold a model is; None where the experiment has no such list."""

    entry: str | None
    seed: int | None
    fold: int | None

    @property
    def model(self) -> str:
        parts = [
            self.entry,
            None if self.seed is None else f"seed{self.seed}",
            None if self.fold is None else f"fold{self.fold}",
        ]
        return "-".join(part for part in parts if part is not None) or MAIN


class Experiment(Settings):
    """The part of an experiment that does not depend on its task."""

    experiment: Name = Field(description="Name; results go to results/NAME.")
    models: dict[Name, ModelSettings] = Field(
        {}, description="Several models over the same data, by name; one, `main`, by default."
    )
    seeds: tuple[Seed, ...] = Field(
        (), description="Train every model once with each of these seeds instead of train.seed."
    )

    stores: str | None = Field(
        None,
        description="Folder, or address s3://BUCKET/PREFIX, for volumes, outputs and the markers of their blocks; with all else under results/NAME by default.",
    )

    if TYPE_CHECKING:
        # Every task declares these two with settings of its own.
        network: NetworkSettings
        train: BaseTrainSettings | None

    @model_validator(mode="after")
    def _stores_can_be_written(self) -> Self:
        wrong = None if self.stores is None else storage.mistake(self.stores)
        if wrong is not None:
            raise ValueError(f"stores: {wrong}")
        if self.stores is not None and self.stores.startswith(("http://", "https://")):
            raise ValueError(f"stores: {self.stores}: is read only; give s3://BUCKET/PREFIX or a folder")
        return self

    @model_validator(mode="after")
    def _train_what_differs(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: {list(self.seeds)} has one twice; each is a training of its own")
        if self.train is None and self.seeds:
            raise ValueError("seeds: nothing is trained without a `train` section; add one, or remove seeds")
        for name, own in self.models.items():
            if self.train is None and own.train:
                raise ValueError(
                    f"models.{name}.train: nothing is trained without a `train` section; add one, or remove this key"
                )
        return self

    def folds(self) -> tuple[int, ...]:
        """Numbers of the folds that are trained; empty where the data are not cross-validated."""
        return ()

    def runs(self) -> dict[str, Run]:
        """All models that are trained or applied, by name."""
        found = (
            Run(entry, seed, fold)
            for entry, seed, fold in product(self.models or [None], self.seeds or [None], self.folds() or [None])
        )
        return {run.model: run for run in found}

    def variant(self, model: str) -> Self:
        """The experiment with `network` and `train` as this model has them.

        Raises
        ------
        ConfigError
            If there is no such model, or its own keys do not fit.
        """
        runs = self.runs()
        if model not in runs:
            raise ConfigError(f"--model {model}: the experiment has {', '.join(runs)}")
        run = runs[model]
        own = self.models[run.entry] if run.entry is not None else ModelSettings()
        seed = {} if run.seed is None else {"seed": run.seed}
        changed: dict[str, Settings] = {}
        for key, section, changes in (
            ("network", self.network, own.network),
            ("train", self.train, own.train | seed),
        ):
            if changes and section is not None:
                given = section.model_dump(exclude_unset=True)
                if "iterations" in changes:
                    # The other way of saying how long a training lasts, which would win.
                    given.pop("epochs", None)
                try:
                    changed[key] = type(section).model_validate(_merged(given, changes))
                except ValidationError as error:
                    raise ConfigError(explain(error, type(section), f"models.{run.entry}.{key}")) from None
        return self.model_copy(update=changed)

    def layout(self, results: Path) -> Layout:
        """Where everything of this experiment is; `results` is the folder of all results."""
        stores = None if self.stores is None else storage.place(self.stores) / self.experiment
        return Layout(results / self.experiment, stores)

    def _check_weights(self) -> None:
        if self.train is None and self.network.weights is None:
            raise ValueError(
                "nothing to predict with: add a `train` section, or `network: {weights: FILE}` to apply trained weights"
            )

    def model_directory(self, results: Path, model: str) -> Path:
        """Where best.safetensors and config.json of a model are: trained here, or given."""
        return self.model_weights(results, model).parent

    def model_weights(self, results: Path, model: str) -> Path:
        """The weights that prediction uses."""
        if self.train is not None:
            return self.layout(results).weights(model)
        given = self.variant(model).network.weights
        assert given is not None
        return Path(given)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes`, key by key down to where one of them is no mapping."""
    return dict(base) | {
        key: _merged(base[key], value) if isinstance(value, Mapping) and isinstance(base.get(key), Mapping) else value
        for key, value in changes.items()
    }
