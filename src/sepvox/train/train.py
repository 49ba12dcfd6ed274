"""train: patches to published weights, resumable at any moment to the same bytes.

While it runs, `models/{model}/state/` holds the checkpoint, the best weights so far, metrics.jsonl and TensorBoard events.
At the end best.safetensors, config.json and metrics.jsonl are promoted from there by rename.
"""

import json
import logging
import math
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers.tqdm_logger import ProgressBar
from monai.handlers import TensorBoardStatsHandler
from torch import nn
from torch.nn.utils import convert_conv3d_weight_memory_format
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from sepvox import markers
from sepvox.errors import InputError, SepvoxError, StaleError, StoreError
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.build import build
from sepvox.nets.model_config import write_model_config
from sepvox.train import checkpoint
from sepvox.train.device import choose_device
from sepvox.train.engine import make_evaluator, make_trainer, moving_average
from sepvox.train.task import Task
from sepvox.versions import VERSIONS

LOG_EVERY = 20

# What ignite logs of an error would stand beside the one line that says it.
logging.getLogger("ignite").setLevel(logging.CRITICAL + 1)


def train(task: Task, layout: Layout, model: str, restart: bool = False) -> None:
    """Train one model, or go on with a training that was interrupted.

    Raises
    ------
    StaleError
        If there is a checkpoint of other settings or data and `restart` is false, or one of another precision.
    """
    with markers.locked(layout.model(model) / ".lock"):
        state = layout.state(model)
        made = markers.fingerprint("train", VERSIONS["train"], task.fingerprint)
        if state.exists() and not markers.is_done(state / "run.json", made):
            markers.set_aside(state, restart, "holds a training with other settings or data")
        markers.mark(state / "run.json", made)
        for note in task.notes:
            print(note, file=sys.stderr)
        _Run(task, state).finish()
        _promote(task, layout, model)


class _Run:
    """One training: its objects, the checkpoint it continues from, and its handlers."""

    def __init__(self, task: Task, state: Path) -> None:
        self.task, self.settings, self.state = task, task.settings, state
        settings = task.settings
        torch.manual_seed(settings.seed)
        torch.backends.cudnn.deterministic = True
        self.precision = choose_device(settings.device, settings.precision)
        self.network = build(task.network)
        if task.initial is not None:
            weights.load_into(self.network, task.initial)
        convert_conv3d_weight_memory_format(self.network.to(self.precision.device), torch.channels_last_3d)
        self.average: AveragedModel | None = moving_average(self.network, settings.ema) if settings.ema else None
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        self.start, self.best, self.since_best = 0, float("inf"), 0
        self._continue()
        loader: DataLoader[Any] = DataLoader(
            task.patches,
            batch_size=task.batch,
            sampler=range(self.start * task.batch, task.iterations * task.batch),
            num_workers=settings.workers,
            multiprocessing_context="spawn" if settings.workers else None,
            prefetch_factor=4 if settings.workers else None,
        )
        self.trainer = make_trainer(self.network, self.optimizer, task, loader, self.precision)
        device = self.precision.device

        def figures(item: Any) -> dict[str, float]:
            with self.precision.autocast():
                return task.validation.figures(self.published(), item, device)

        self.evaluator = make_evaluator(self.published(), task.validation.items, figures, device)
        self._losses: list[torch.Tensor] = []
        self._clock = time.monotonic()
        self._attach()

    def published(self) -> nn.Module:
        """The network that is validated and published: the moving average where there is one."""
        return self.network if self.average is None else self.average.module

    def finish(self) -> None:
        """Train to the end."""
        if self.start >= self.task.iterations:
            return
        self.trainer.load_state_dict({"iteration": self.start, "epoch_length": self.task.iterations, "max_epochs": 1})
        try:
            self.trainer.run()
        except SepvoxError as error:
            print(file=sys.stderr)
            raise type(error)(_as_raised(error)) from None
        if self._diverged:
            # The bar has not ended its line.
            print(file=sys.stderr)
            raise InputError(
                "train: the loss is no longer a number; lower train.learning_rate, or set train.gradient_clip"
            )

    def _continue(self) -> None:
        self._diverged = False
        path = self.state / "checkpoint.pt"
        if not path.exists():
            (self.state / "metrics.jsonl").unlink(missing_ok=True)
            return
        saved = checkpoint.load(path)
        precision = saved.get("precision", self.precision.name)
        if precision != self.precision.name and saved["iteration"] < self.task.iterations:
            raise StaleError(
                f"{path}: trained in {precision}, but train.precision: auto means {self.precision.name} on this device; go on with the device of before, or set train.precision to train afresh"
            )
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.start, self.best, self.since_best = saved["iteration"], saved["best"], saved["since_best"]
        checkpoint.cut_back(self.state / "metrics.jsonl", self.start)

    def _attach(self) -> None:
        trainer, settings = self.trainer, self.settings
        every = settings.validate_every

        def due(*periods: int) -> Any:
            """At multiples of any of the periods, and at the end."""

            def filtered(_: Engine, iteration: int) -> bool:
                return iteration == self.task.iterations or any(iteration % period == 0 for period in periods)

            return Events.ITERATION_COMPLETED(event_filter=filtered)

        trainer.add_event_handler(Events.ITERATION_STARTED(once=self.start + 1), self._start_clock)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        trainer.add_event_handler(due(LOG_EVERY, every, settings.checkpoint_every), self._log)
        if settings.tensorboard:
            writer = SummaryWriter(str(self.state / "tensorboard"), purge_step=self.start + 1)
            TensorBoardStatsHandler(
                writer, iteration_log=LOG_EVERY, epoch_log=False, output_transform=lambda out: out["loss"].detach()
            ).attach(trainer)
            TensorBoardStatsHandler(
                writer,
                iteration_log=False,
                tag_name="validation",
                global_epoch_transform=lambda _: trainer.state.iteration,
            ).attach(self.evaluator)
            trainer.add_event_handler(Events.COMPLETED, writer.close)
        trainer.add_event_handler(due(every), self._validate)
        trainer.add_event_handler(due(settings.checkpoint_every), self._save)
        bar = ProgressBar(
            persist=True,
            mininterval=1 if sys.stderr.isatty() else 30,
            desc="train",
            bar_format="{desc} {n_fmt}/{total_fmt} {elapsed}<{remaining} {rate_fmt}{postfix}",
        )
        bar.attach(trainer, output_transform=lambda out: {"loss": float(out["loss"].detach())})

    def _step(self, engine: Engine) -> None:
        loss = engine.state.output["loss"].detach()
        self._losses.append(loss)
        if self.average is not None:
            self.average.update_parameters(self.network)

    def _log(self, engine: Engine) -> None:
        seconds, self._clock = time.monotonic() - self._clock, time.monotonic()
        mean = float(torch.stack(self._losses).mean())
        if not math.isfinite(mean):
            self._diverged = True
            engine.terminate()
            return
        patches = len(self._losses) * self.task.batch
        self._losses.clear()
        self._write(
            iteration=engine.state.iteration,
            loss=mean,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            patches_per_second=round(patches / seconds, 3),
        )

    def _validate(self, engine: Engine) -> None:
        if self._diverged:
            return
        if not self.task.validation.items:
            # Nothing tells which weights are best: the last ones are published.
            if engine.state.iteration == self.task.iterations:
                self._save_best(engine)
            return
        self.evaluator.run(global_epoch=1)
        found = self.evaluator.state.metrics
        chosen = found[self.task.select]
        better = chosen < self.best
        self.since_best = 0 if better else self.since_best + 1
        if better:
            self.best = chosen
            self._save_best(engine)
        figures = {f"validation_{name}": value for name, value in found.items()}
        self._write(iteration=engine.state.iteration, **figures, best=better)
        self._clock = time.monotonic()
        if self.settings.patience is not None and self.since_best >= self.settings.patience:
            engine.terminate()
            self._save(engine, stop=True)

    def _save_best(self, engine: Engine) -> None:
        weights.save(
            self.state / "best.safetensors", self.published().state_dict(), {"iteration": str(engine.state.iteration)}
        )

    def _save(self, engine: Engine, stop: bool = False) -> None:
        # Handlers of an iteration still run after the engine was told to end.
        if engine.should_terminate and not stop:
            return
        state = {
            "iteration": self.task.iterations if stop else engine.state.iteration,
            "precision": self.precision.name,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "since_best": self.since_best,
        }
        if self.average is not None:
            state["average"] = self.average.state_dict()
        checkpoint.save(self.state / "checkpoint.pt", state)
        self._clock = time.monotonic()

    def _start_clock(self) -> None:
        """Without the start of the loaders."""
        self._clock = time.monotonic()

    def _write(self, **line: Any) -> None:
        with (self.state / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def _as_raised(error: SepvoxError) -> str:
    """The message of an error; torch puts the traceback of a loader process around it."""
    return str(error).rpartition(f"\n{type(error).__module__}.{type(error).__qualname__}: ")[2].strip()


def _promote(task: Task, layout: Layout, model: str) -> None:
    state = layout.state(model)
    for name, target in (("metrics.jsonl", layout.metrics(model)), ("best.safetensors", layout.weights(model))):
        if not (state / name).exists():
            raise StoreError(f"{state / name}: missing; remove {state} to train afresh")
        with markers.replacing(target) as temporary:
            shutil.copyfile(state / name, temporary)
    write_model_config(layout.model_config(model), task.network, task.record)
