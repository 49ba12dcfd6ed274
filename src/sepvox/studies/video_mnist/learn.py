"""The training of one network on a few videos, resumable at any moment to the same bytes.

A *pass*, or epoch, visits every training video once in an order that depends on the run's seed and the epoch alone; there
is no augmentation. Validation comes before the first epoch, every so many epochs, and after the last; the weights of the
best one are what is learned, of equals the first. Training may be told to end early where validation no longer rises. It
ends where the loss is no longer a number, too: what was best before stands, and it is said that it *diverged*.
"""

import copy
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau
from tqdm import tqdm

from sepvox import markers
from sepvox.nets.classifiers import LeNet5
from sepvox.nets.lenet import build_lenet5
from sepvox.nets.tt import materialised
from sepvox.studies.video_mnist.samples import Samples, accuracy
from sepvox.studies.video_mnist.settings import LearnSettings
from sepvox.train import checkpoint

# Sets the order of videos apart from what else is drawn with a run's seed.
_ORDER = 5
_KEYS = {"epoch", "network", "optimizer", "schedule", "best", "history"}


@dataclass(frozen=True)
class Plan:
    """One training: the network, what is drawn with which seed, and the learning rate it begins with."""

    net: LeNet5
    seed: int
    rate: float
    settings: LearnSettings


@dataclass(frozen=True)
class Learned:
    """What came of a training.

    Attributes
    ----------
    weights : dict of Tensor
        Of the best validation.
    epoch : int
        When that was.
    accuracy : float
        Its validation accuracy.
    diverged : bool
        Whether training ended early because the loss was no longer a number.
    """

    weights: dict[str, Tensor]
    epoch: int
    accuracy: float
    diverged: bool


def learn(plan: Plan, training: Samples, validation: Samples, state: Path) -> Learned:
    """Train a network, or go on with a training that was interrupted.

    Parameters
    ----------
    training, validation : Samples
        On the device that shall compute.
    state : Path
        Folder of checkpoint.pt and metrics.jsonl; what it holds belongs to this plan and these samples.

    Raises
    ------
    StoreError
        If the checkpoint is damaged.
    """
    run = _Run(plan, training, validation, state)
    run.finish()
    return Learned(run.best["weights"], run.best["epoch"], run.best["accuracy"], run.diverged)


class _Run:
    """One training: its objects and where it stands."""

    def __init__(self, plan: Plan, training: Samples, validation: Samples, state: Path) -> None:
        self.plan, self.training, self.validation, self.state = plan, training, validation, state
        settings = plan.settings
        torch.backends.cudnn.deterministic = True
        torch.manual_seed(plan.seed)
        # On the CPU, so that a run begins with the same weights on every device.
        self.network = build_lenet5(plan.net).to(training.labels.device)
        self.optimizer = torch.optim.SGD(_groups(self.network, plan), lr=plan.rate, momentum=settings.momentum)
        # torch lowers the rate at the first validation after so many without a rise.
        patience = max(0, -(-settings.patience // settings.validate_every) - 1)
        self.schedule = ReduceLROnPlateau(
            self.optimizer, "max", settings.factor, patience, threshold=0.0, threshold_mode="abs", eps=0.0
        )
        self.epoch, self.diverged = 0, False
        self.best: dict[str, Any] = {"accuracy": -1.0}
        self.history: list[dict[str, Any]] = []
        self._continue()

    def finish(self) -> None:
        """Train to the end."""
        settings = self.plan.settings
        if not self.history:
            self._validate(None)
        bar = tqdm(
            range(self.epoch + 1, settings.epochs + 1),
            initial=self.epoch,
            total=settings.epochs,
            desc=self.state.parent.name,
            unit="epoch",
            mininterval=1 if sys.stderr.isatty() else 30,
        )
        for epoch in bar:
            if self._rises_no_more():
                bar.close()
                return
            loss = self._pass(epoch)
            self.diverged = not math.isfinite(loss)
            if self.diverged:
                bar.close()
                print(f"the loss was no longer a number in epoch {epoch}; what was best before stands", file=sys.stderr)
                return
            self.epoch = epoch
            if epoch % settings.validate_every == 0 or epoch == settings.epochs:
                self._validate(loss)
                bar.set_postfix(loss=f"{loss:.3g}", validation=self.history[-1]["validation_accuracy"], refresh=False)
            if epoch % settings.checkpoint_every == 0 or epoch == settings.epochs:
                self._save()

    def _rises_no_more(self) -> bool:
        """Whether the validation of the present epoch says that training may end early."""
        after = self.plan.settings.stop_after
        judged = self.history[-1]["epoch"] == self.epoch
        return after is not None and judged and self.epoch - self.best["epoch"] >= after

    def _pass(self, epoch: int) -> float:
        """Learn from every training video once; the mean loss."""
        self.network.train()
        order = np.random.default_rng((self.plan.seed, _ORDER, epoch)).permutation(len(self.training))
        total = torch.zeros((), device=self.training.labels.device)
        for videos, labels in self.training.batches(order, self.plan.settings.batch):
            self.optimizer.zero_grad()
            loss = functional.cross_entropy(self.network(videos), labels)
            torch.autograd.backward(loss)
            self.optimizer.step()
            total += loss.detach() * len(labels)
        return float(total) / len(order)

    def _validate(self, loss: float | None) -> None:
        found = accuracy(materialised(copy.deepcopy(self.network)), self.validation)
        better = found > self.best["accuracy"]
        if better:
            weights = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}
            self.best = {"accuracy": found, "epoch": self.epoch, "weights": weights}
        rate = self.optimizer.param_groups[0]["lr"]
        line = {"epoch": self.epoch, "loss": loss, "learning_rate": rate, "validation_accuracy": found, "best": better}
        self.history.append(line)
        with self._metrics.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.schedule.step(found)

    def _save(self) -> None:
        state = {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": self.best,
            "history": self.history,
        }
        checkpoint.save(self._checkpoint, state)

    def _continue(self) -> None:
        if self._checkpoint.exists():
            saved = checkpoint.load(self._checkpoint, _KEYS)
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.schedule.load_state_dict(saved["schedule"])
            self.epoch, self.best, self.history = saved["epoch"], saved["best"], saved["history"]
        with markers.replacing(self._metrics) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in self.history))

    @property
    def _checkpoint(self) -> Path:
        return self.state / "checkpoint.pt"

    @property
    def _metrics(self) -> Path:
        return self.state / "metrics.jsonl"


def _groups(network: nn.Module, plan: Plan) -> list[dict[str, Any]]:
    """The weights as the optimiser takes them, those of transformations with a rate of their own."""
    transformations = [weight for name, weight in network.named_parameters() if ".transformations." in name]
    others = [weight for name, weight in network.named_parameters() if ".transformations." not in name]
    groups: list[dict[str, Any]] = [{"params": others}]
    if transformations:
        groups.append({"params": transformations, "lr": plan.rate * plan.settings.transformations})
    return groups
