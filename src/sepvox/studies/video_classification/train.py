"""Train and test one network with one seed: a *unit* of the study.

A training is resumed after its last finished epoch, to the same weights on the same device. `models/{unit}/state/` holds the
checkpoint, the best weights so far and metrics.jsonl, and stays; at the end weights and metrics are copied from there, and
result.json says how the best weights, chosen on the validation videos, do on all test videos.
"""

import json
import math
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import convert_conv3d_weight_memory_format
from torch.utils.data import DataLoader
from tqdm import tqdm

import sepvox
from sepvox import markers
from sepvox.errors import InputError, SepvoxError, StoreError
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.describe_classifier import describe_classifier
from sepvox.nets.resnet3d import build_clip_network
from sepvox.nets.tt import materialised
from sepvox.studies.video_classification.clips import (
    Batch,
    Clips,
    Key,
    batches_per_epoch,
    judged_batches,
    training_batches,
)
from sepvox.studies.video_classification.folder import STEP
from sepvox.studies.video_classification.settings import VideoStudy
from sepvox.studies.video_classification.videos import Data
from sepvox.studies.video_mnist.clips import Split
from sepvox.train import checkpoint
from sepvox.train.device import choose_device
from sepvox.versions import VERSIONS

# Of a checkpoint.
_KEYS = {"iteration", "network", "optimizer", "best", "seconds"}


@dataclass(frozen=True)
class Judgement:
    """Mean cross-entropy and share of right classes over the videos of a split, and seconds that prediction took."""

    loss: float
    accuracy: float
    seconds: float


def unit_fingerprint(study: VideoStudy, unit: str, data: Data) -> str:
    """Of everything that the result of a unit depends on."""
    label, seed = study.units()[unit]
    train = study.train.model_dump(mode="json", exclude=study.train.free)
    clip = study.clip.model_dump(mode="json")
    network = asdict(study.network(label, len(data.classes)))
    return markers.fingerprint(STEP, VERSIONS[STEP], network, seed, train, clip, data.fingerprint)


def train_unit(study: VideoStudy, unit: str, data: Data, layout: Layout, restart: bool = False) -> None:
    """Train and test one unit, or go on with it; one that is finished is left as it is.

    Raises
    ------
    StaleError
        If there is a training of other settings or videos and `restart` is false.
    InputError
        If the training diverges, or a video cannot be read.
    """
    made = unit_fingerprint(study, unit, data)
    done = layout.done(STEP, "units", unit)
    promoted = (layout.result(unit), layout.weights(unit), layout.metrics(unit))
    with markers.locked(layout.model(unit) / ".lock"):
        if markers.is_done(done, made) and all(path.exists() for path in promoted):
            return
        state = layout.state(unit)
        if state.exists() and not markers.is_done(state / "run.json", made):
            markers.set_aside(state, restart, "holds a training with other settings or videos")
        markers.mark(state / "run.json", made)
        result = _Training(study, unit, data, state).result()
        for name, target in (("metrics.jsonl", layout.metrics(unit)), ("best.safetensors", layout.weights(unit))):
            with markers.replacing(target) as temporary:
                shutil.copyfile(state / name, temporary)
        label, _ = study.units()[unit]
        described = {"sepvox": sepvox.__version__, "network": asdict(study.network(label, len(data.classes)))}
        markers.write_json(layout.model_config(unit), described | {"classes": data.classes})
        markers.write_json(layout.result(unit), result)
        markers.mark(done, made)


def finished_result(study: VideoStudy, unit: str, data: Data, layout: Layout) -> dict[str, Any]:
    """What a finished unit says of itself: result.json.

    Raises
    ------
    StoreError
        If it is not finished with these settings and videos.
    """
    path, step = layout.result(unit), f"study video CONFIG --part {unit}"
    found: dict[str, Any] = markers.read_json(path, "accuracy", step=step)
    if not markers.is_done(layout.done(STEP, "units", unit), unit_fingerprint(study, unit, data)):
        raise StoreError(f"{path}: of other settings or videos; run `sepvox {step} --restart` first")
    return found


class _Training:
    """One training: its objects, and the checkpoint it continues from."""

    def __init__(self, study: VideoStudy, unit: str, data: Data, state: Path) -> None:
        self.study, self.unit, self.data, self.state = study, unit, data, state
        self.settings = study.train
        self.label, self.seed = study.units()[unit]
        self.net = study.network(self.label, len(data.classes))
        torch.manual_seed(self.seed)
        torch.backends.cudnn.deterministic = True
        self.precision = choose_device(self.settings.device, self.settings.precision)
        self.network = self._fresh()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.settings.learning_rate)
        self.per_epoch = batches_per_epoch(len(data.splits["train"].labels), self.settings.batch)
        self.epoch, self.seconds = 0, 0.0
        # Accuracy, loss and epoch of the best weights.
        self.best = (-1.0, math.inf, 0)
        self._continue()

    def result(self) -> dict[str, Any]:
        """Train to the end, test, and say what was found."""
        self._train()
        network = self._fresh()
        weights.load_into(network, self.state / "best.safetensors")
        tested = self._judge(materialised(network), "test")
        described = describe_classifier(self.net)
        count = len(self.data.splits["test"].labels)
        device = torch.cuda.get_device_name() if self.precision.device.type == "cuda" else "cpu"
        return {
            "unit": self.unit,
            "label": self.label,
            "network": self.net.name,
            "width": self.net.width,
            "seed": self.seed,
            "accuracy": tested.accuracy,
            "test_videos": count,
            "validation_accuracy": self.best[0],
            "best_epoch": self.best[2],
            "epochs": self.settings.epochs,
            "parameters": described.parameters,
            "macs_per_clip": described.macs_per_clip,
            "training_seconds": round(self.seconds, 2),
            "seconds_per_1000_clips": round(1000 * tested.seconds / count, 3),
            "device": device,
            "threads": torch.get_num_threads(),
        }

    def _train(self) -> None:
        settings, count = self.settings, len(self.data.splits["train"].labels)
        if self.epoch == settings.epochs:
            return
        clips = Clips(self.data.splits["train"], self.study.clip, settings, self.seed)
        keys = list(training_batches(count, settings.batch, self.seed, self.epoch, settings.epochs))
        batches = iter(self._loader(clips, keys))
        bar = tqdm(
            total=settings.epochs,
            initial=self.epoch,
            desc=self.unit,
            unit="epoch",
            mininterval=1 if sys.stderr.isatty() else 30,
        )
        with bar:
            while self.epoch < settings.epochs:
                self._train_epoch(batches)
                bar.update()
                bar.set_postfix(accuracy=self.best[0])

    def _train_epoch(self, batches: Any) -> None:
        self.network.train()
        losses = []
        first = self.epoch * self.per_epoch
        for iteration, batch in enumerate(_raised(islice(batches, self.per_epoch)), start=first):
            rate = self.settings.learning_rate / (1 + self.settings.decay * iteration)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            begin = time.perf_counter()
            self.optimizer.zero_grad(set_to_none=True)
            logits, labels = self._logits(self.network, batch)
            loss = functional.cross_entropy(logits, labels)
            torch.autograd.backward(loss)
            self.optimizer.step()
            # As a number on the CPU, so that a GPU has done its work when the time is taken.
            losses.append(float(loss.detach()))
            self.seconds += time.perf_counter() - begin
        mean = math.fsum(losses) / len(losses)
        if not math.isfinite(mean):
            raise InputError(f"{self.unit}: the loss is no longer a number; lower train.learning_rate")
        judged = self._judge(self.network, "validation")
        self.epoch += 1
        better = (judged.accuracy, -judged.loss) > (self.best[0], -self.best[1])
        if better:
            self.best = (judged.accuracy, judged.loss, self.epoch)
            weights.save(self.state / "best.safetensors", self.network.state_dict(), {"epoch": str(self.epoch)})
        line = {
            "iteration": self.epoch * self.per_epoch,
            "epoch": self.epoch,
            "loss": mean,
            "learning_rate": rate,
            "validation_loss": judged.loss,
            "validation_accuracy": judged.accuracy,
            "best": better,
        }
        with (self.state / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._save()

    def _judge(self, network: nn.Module, split: Split) -> Judgement:
        network.eval()
        clips = Clips(self.data.splits[split], self.study.clip)
        loss, right, seconds = 0.0, 0, 0.0
        for batch in _raised(self._loader(clips, judged_batches(len(clips), self.settings.batch))):
            begin = time.perf_counter()
            with torch.no_grad():
                logits, labels = self._logits(network, batch)
            # What was found is asked for on the CPU, so that a GPU has done its work when the time is taken.
            found = logits.argmax(1).cpu()
            seconds += time.perf_counter() - begin
            loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
            right += int((found == batch["label"]).sum())
        return Judgement(loss / len(clips), right / len(clips), seconds)

    def _logits(self, network: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        device = self.precision.device
        clips = batch["clip"].to(device).contiguous(memory_format=torch.channels_last_3d)
        with self.precision.autocast():
            logits: torch.Tensor = network(clips)
        return logits.float(), batch["label"].to(device)

    def _loader(self, clips: Clips, keys: list[list[Key]]) -> DataLoader[Batch]:
        workers = self.settings.workers
        return DataLoader(
            clips,
            batch_sampler=keys,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
        )

    def _fresh(self) -> nn.Module:
        network = build_clip_network(self.net).to(self.precision.device)
        convert_conv3d_weight_memory_format(network, torch.channels_last_3d)
        return network

    def _continue(self) -> None:
        path = self.state / "checkpoint.pt"
        if not path.exists():
            (self.state / "metrics.jsonl").unlink(missing_ok=True)
            return
        saved = checkpoint.load(path, _KEYS)
        self.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.epoch, self.seconds = saved["iteration"] // self.per_epoch, saved["seconds"]
        accuracy, loss, epoch = saved["best"]
        self.best = (accuracy, loss, epoch)
        checkpoint.cut_back(self.state / "metrics.jsonl", saved["iteration"])

    def _save(self) -> None:
        state = {
            "iteration": self.epoch * self.per_epoch,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": list(self.best),
            "seconds": self.seconds,
        }
        checkpoint.save(self.state / "checkpoint.pt", state)


def _raised(batches: Any) -> Any:
    """Batches; an error of a loader process is raised as its own last line, without the traceback around it."""
    try:
        yield from batches
    except SepvoxError as error:
        text = str(error).strip().rpartition(f"{type(error).__name__}: ")[2]
        raise type(error)(text) from None
