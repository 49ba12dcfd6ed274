"""MONAI's engines, set up so that a run is a pure function of its seed and its iteration numbers.

No step depends on the clock. Learning rate, moving average and torch's random state are functions of the iteration, so
that a checkpoint needs only tensors and counters.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch import nn
from torch.optim.swa_utils import AveragedModel

from sepvox.errors import ConfigError
from sepvox.nets.settings import NetworkSettings
from sepvox.train.losses import pointwise_loss
from sepvox.train.malis import malis_loss
from sepvox.train.settings import LossSettings, TrainSettings

Batch = dict[str, torch.Tensor]


def learning_rate(settings: TrainSettings, iteration: int) -> float:
    """Learning rate of an iteration, counted from 1: linear warm-up, then constant, or cosine down to a hundredth."""
    rate = settings.learning_rate
    if iteration <= settings.warmup:
        return rate * iteration / settings.warmup
    if settings.schedule == "constant":
        return rate
    done = (iteration - settings.warmup) / max(1, settings.iterations - settings.warmup)
    return rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


class AffinityLoss:
    """Pointwise loss, then MALIS on the three nearest affinities from `switch_at` on; the others stay pointwise."""

    def __init__(self, settings: LossSettings, network: NetworkSettings) -> None:
        self._settings = settings
        self._offsets = network.offsets
        long_range = len(network.offsets) - 3
        self._weights = torch.tensor([1.0] * 3 + [settings.auxiliary_weight] * long_range)
        self.iteration = 0

    def pointwise(self, logits: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The pointwise loss of every channel; also the figure of validation."""
        weights = self._weights.to(logits.device)
        return pointwise_loss(logits, targets, mask, self._settings.pointwise, self._settings.balance, weights)

    def __call__(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        logits = logits.float()
        if self._settings.switch_at is None or self.iteration <= self._settings.switch_at:
            return self.pointwise(logits, batch["targets"], batch["mask"])
        loss = malis_loss(logits[:, :3], batch["labels"], self._offsets[:3])
        if len(self._offsets) > 3 and self._settings.auxiliary_weight:
            kind, balance = self._settings.pointwise, self._settings.balance
            rest = pointwise_loss(logits[:, 3:], batch["targets"][:, 3:], batch["mask"][:, 3:], kind, balance)
            loss = loss + self._settings.auxiliary_weight * rest
        return loss


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """A moving average of the weights; its decay grows from 0 to `decay`, so that the start is forgotten."""

    def average(averaged: torch.Tensor, current: torch.Tensor, number: torch.Tensor | int) -> torch.Tensor:
        if not torch.is_floating_point(averaged):
            return current
        steps = float(number)
        return averaged.lerp(current, 1 - min(decay, (1 + steps) / (10 + steps)))

    return AveragedModel(network, avg_fn=average, use_buffers=True)


@dataclass(frozen=True)
class Precision:
    """Whether and how autocast is used on a device."""

    device: torch.device
    bfloat16: bool

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)


def choose_device(name: str, precision: str) -> Precision:
    """The device of `auto | cpu | cuda` and whether it computes in bfloat16 for `auto | float32 | bfloat16`."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train.device: cuda was asked for, but torch finds no CUDA device; use auto or cpu")
    cuda = torch.cuda.is_available() and name != "cpu"
    device = torch.device("cuda" if cuda else "cpu")
    fits = cuda and torch.cuda.is_bf16_supported()
    return Precision(device, precision == "bfloat16" or (precision == "auto" and fits))


def make_trainer(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: AffinityLoss,
    loader: Iterable[Batch],
    settings: TrainSettings,
    precision: Precision,
) -> SupervisedTrainer:
    """A MONAI trainer whose single epoch is the whole run."""

    def prepare_batch(batch: Batch, device: Any, non_blocking: bool, **_: Any) -> tuple[torch.Tensor, Batch]:
        moved = {name: tensor.to(device, non_blocking=non_blocking) for name, tensor in batch.items()}
        return moved.pop("image").to(memory_format=torch.channels_last_3d), moved

    trainer = SupervisedTrainer(
        device=precision.device,
        max_epochs=1,
        epoch_length=settings.iterations,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=loss,
        prepare_batch=prepare_batch,
        decollate=False,
        optim_set_to_none=True,
        amp=precision.bfloat16 and precision.device.type == "cuda",
        amp_kwargs={"dtype": torch.bfloat16},
    )
    if trainer.amp:
        # bfloat16 has the range of float32: MONAI's scaler for float16 would only add steps that depend on history.
        trainer.scaler = torch.amp.GradScaler("cuda", enabled=False)

    def begin(engine: Engine) -> None:
        iteration = engine.state.iteration
        torch.manual_seed(settings.seed + iteration)
        loss.iteration = iteration
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(settings, iteration)

    def clip(_: Engine) -> None:
        if settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)

    trainer.add_event_handler(Events.ITERATION_STARTED, begin)
    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, clip)
    return trainer


def make_evaluator(
    network: nn.Module, crops: list[Any], figures: Callable[[Any], dict[str, float]], device: torch.device
) -> SupervisedEvaluator:
    """A MONAI evaluator that visits every crop; the means of its figures are in `state.metrics`."""
    collected: list[dict[str, float]] = []

    def visit(_: Engine, crop: Any) -> dict[str, float]:
        network.eval()
        with torch.no_grad():
            collected.append(figures(crop))
        return collected[-1]

    evaluator = SupervisedEvaluator(
        device=device, val_data_loader=crops, network=network, iteration_update=visit, decollate=False
    )

    def forget() -> None:
        collected.clear()

    def mean(engine: Engine) -> None:
        for name in collected[0]:
            engine.state.metrics[name] = sum(found[name] for found in collected) / len(collected)

    evaluator.add_event_handler(Events.EPOCH_STARTED, forget)
    evaluator.add_event_handler(Events.EPOCH_COMPLETED, mean)
    return evaluator
