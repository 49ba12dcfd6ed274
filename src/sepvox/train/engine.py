"""MONAI's engines, set up so that a run is a pure function of its seed and its iteration numbers.

No step depends on the clock. Learning rate, moving average and torch's random state are functions of the iteration, so
that a checkpoint needs only tensors and counters.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch import nn
from torch.optim.swa_utils import AveragedModel

from sepvox.train.device import Precision
from sepvox.train.settings import BaseTrainSettings
from sepvox.train.task import Batch, Task


def learning_rate(settings: BaseTrainSettings, iterations: int, iteration: int) -> float:
    """Learning rate of an iteration, counted from 1: linear warm-up, then constant, or cosine down to a hundredth."""
    rate = settings.learning_rate
    if iteration <= settings.warmup:
        return rate * iteration / settings.warmup
    if settings.schedule == "constant":
        return rate
    done = (iteration - settings.warmup) / max(1, iterations - settings.warmup)
    return rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """A moving average of the weights; its decay grows from 0 to `decay`, so that the start is forgotten."""

    def average(averaged: torch.Tensor, current: torch.Tensor, number: torch.Tensor | int) -> torch.Tensor:
        if not torch.is_floating_point(averaged):
            return current
        steps = float(number)
        return averaged.lerp(current, 1 - min(decay, (1 + steps) / (10 + steps)))

    return AveragedModel(network, avg_fn=average, use_buffers=True)


def make_trainer(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    task: Task,
    loader: Iterable[Batch],
    precision: Precision,
) -> SupervisedTrainer:
    """A MONAI trainer whose single epoch is the whole run."""

    def prepare_batch(batch: Batch, device: Any, non_blocking: bool, **_: Any) -> tuple[torch.Tensor, Batch]:
        moved = {name: tensor.to(device, non_blocking=non_blocking) for name, tensor in batch.items()}
        return moved.pop("image").to(memory_format=torch.channels_last_3d), moved

    trainer = SupervisedTrainer(
        device=precision.device,
        max_epochs=1,
        epoch_length=task.iterations,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=task.loss,
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
        torch.manual_seed(task.settings.seed + iteration)
        task.loss.iteration = iteration
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(task.settings, task.iterations, iteration)

    def clip(_: Engine) -> None:
        if task.settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), task.settings.gradient_clip)

    trainer.add_event_handler(Events.ITERATION_STARTED, begin)
    trainer.add_event_handler(IterationEvents.BACKWARD_COMPLETED, clip)
    return trainer


def make_evaluator(
    network: nn.Module, items: Sequence[Any], figures: Callable[[Any], dict[str, float]], device: torch.device
) -> SupervisedEvaluator:
    """A MONAI evaluator that visits every item; the means of its figures are in `state.metrics`."""
    collected: list[dict[str, float]] = []

    def visit(_: Engine, item: Any) -> dict[str, float]:
        network.eval()
        with torch.no_grad():
            collected.append(figures(item))
        return collected[-1]

    evaluator = SupervisedEvaluator(
        device=device, val_data_loader=items, network=network, iteration_update=visit, decollate=False
    )

    def forget() -> None:
        collected.clear()

    def mean(engine: Engine) -> None:
        for name in collected[0]:
            engine.state.metrics[name] = sum(found[name] for found in collected) / len(collected)

    evaluator.add_event_handler(Events.EPOCH_STARTED, forget)
    evaluator.add_event_handler(Events.EPOCH_COMPLETED, mean)
    return evaluator
