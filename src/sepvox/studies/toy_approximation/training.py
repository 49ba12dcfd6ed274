"""Train one student: epoch after epoch, with a checkpoint after each.

The *history* of a student has one record per epoch: `epoch`, counted from 1, `train_loss`, the mean over the epoch while the
weights change, `validation_loss` and `accuracy` after it, and `seconds`, the time of the student's own steps; making volumes
and targets, which costs the same for every student, is left out. The history is part of the checkpoint, and metrics.jsonl
beside that is written from it.
"""

import json
import math
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import convert_conv3d_weight_memory_format
from tqdm import tqdm

from sepvox import markers
from sepvox.errors import InputError, StoreError
from sepvox.studies.toy_approximation.networks import build_student, target_network
from sepvox.studies.toy_approximation.settings import Student, ToyStudy
from sepvox.studies.toy_approximation.volumes import (
    STUDENT_WEIGHTS,
    Volumes,
    training_batches,
    validation_batches,
    weights_seed,
)
from sepvox.train import checkpoint
from sepvox.train.device import choose_device

Record = dict[str, float]
RECORD = ("epoch", "train_loss", "validation_loss", "accuracy", "seconds")
STATE = {"network", "optimizer", "history"}


@dataclass(frozen=True)
class Trained:
    """What a training leaves: its history, the device's name, and what the best constant output would have scored."""

    history: list[Record]
    device: str
    constant_loss: float
    constant_accuracy: float


def train_student(study: ToyStudy, student: Student, seed: int, state: Path) -> Trained:
    """Train a student to the end, from the checkpoint in `state` where there is one.

    Raises
    ------
    ConfigError
        If the study asks for a CUDA device and there is none.
    InputError
        If the loss is no longer a number.
    StoreError
        If the checkpoint is damaged.
    """
    device = choose_device(study.train.device, "float32").device
    torch.backends.cudnn.deterministic = True
    target = _on(target_network(study), device)
    torch.manual_seed(weights_seed(STUDENT_WEIGHTS, seed))
    network = _on(build_student(study, student), device)
    optimizer = torch.optim.Adam(network.parameters(), lr=study.train.learning_rate)
    path = state / "checkpoint.pt"
    history: list[Record] = []
    if path.exists():
        saved = checkpoint.load(path, STATE)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        history = saved["history"]
    validation = [(volumes, target_of(target, volumes, device)) for volumes in validation_batches(study)]
    with tqdm(
        total=study.train.epochs,
        initial=len(history),
        desc=f"{student.label}, seed {seed}",
        unit="epoch",
        mininterval=1 if sys.stderr.isatty() else 30,
    ) as bar:
        while len(history) < study.train.epochs:
            epoch = len(history) + 1
            loss, seconds = learn(network, target, optimizer, training_batches(study, seed, epoch), device)
            validation_loss, accuracy = validate(network, validation, device)
            if not (math.isfinite(loss) and math.isfinite(validation_loss)):
                raise InputError(
                    f"{student.label}, seed {seed}: the loss is no longer a number in epoch {epoch}; lower train.learning_rate"
                )
            figures = (epoch, loss, validation_loss, accuracy, seconds)
            history.append(dict(zip(RECORD, figures, strict=True)))
            weights = network.state_dict()
            checkpoint.save(path, {"network": weights, "optimizer": optimizer.state_dict(), "history": history})
            write_history(state / "metrics.jsonl", history)
            bar.set_postfix(loss=f"{validation_loss:.3g}", accuracy=f"{accuracy:.3f}", refresh=False)
            bar.update()
    return Trained(history, _name(device), *_constant([outputs for _, outputs in validation]))


def target_of(target: nn.Module, volumes: Volumes, device: torch.device) -> Tensor:
    """What the target network makes of volumes (batch, channels, z, y, x): float32 (batch, 3, …) in [0, 1] on the device."""
    with torch.no_grad():
        found: Tensor = torch.sigmoid(target(_tensor(volumes, device)))
    return found


def write_history(path: Path, history: list[Record]) -> None:
    """Write one JSON object per epoch."""
    with markers.replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in history))


def read_history(path: Path) -> list[Record]:
    """Read what `write_history` wrote.

    Raises
    ------
    StoreError
        If it is damaged.
    """
    try:
        history = [{key: json.loads(line)[key] for key in RECORD} for line in path.read_text().splitlines()]
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path}: not one JSON object with {', '.join(RECORD)} per line ({error}); remove it and run `sepvox study toy` again"
        ) from None
    return history


def learn(
    network: nn.Module,
    target: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Volumes],
    device: torch.device,
) -> tuple[float, float]:
    """Train for one pass over the batches: the mean loss, and the seconds of the network's own steps."""
    total, count, seconds = 0.0, 0, 0.0
    for volumes in batches:
        outputs = target_of(target, volumes, device)
        inputs = _tensor(volumes, device)
        begin = _clock(device)
        optimizer.zero_grad(set_to_none=True)
        loss = functional.mse_loss(torch.sigmoid(network(inputs)), outputs)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        seconds += _clock(device) - begin
        total += float(loss.detach()) * len(volumes)
        count += len(volumes)
    return total / count, seconds


def validate(
    network: nn.Module, validation: Iterable[tuple[Volumes, Tensor]], device: torch.device
) -> tuple[float, float]:
    """Loss and accuracy of a network over all output voxels of volumes and what the target makes of them."""
    loss, right, voxels = 0.0, 0, 0
    with torch.no_grad():
        for volumes, outputs in validation:
            logits = network(_tensor(volumes, device))
            same = logits.argmax(dim=1) == outputs.argmax(dim=1)
            loss += float(functional.mse_loss(torch.sigmoid(logits), outputs)) * same.numel()
            right += int(same.sum())
            voxels += same.numel()
    return loss / voxels, right / voxels


def _constant(outputs: list[Tensor]) -> tuple[float, float]:
    """Loss of the best constant in each channel, and accuracy of the channel that is most often the largest."""
    whole = torch.cat(outputs).double()
    largest = torch.bincount(whole.argmax(dim=1).flatten())
    loss = whole.var(dim=(0, 2, 3, 4), correction=0).mean()
    return float(loss), float(largest.max() / largest.sum())


def _name(device: torch.device) -> str:
    threads = torch.get_num_threads()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, threads: {threads}"


def _on(network: nn.Sequential, device: torch.device) -> nn.Sequential:
    placed: nn.Sequential = convert_conv3d_weight_memory_format(network.to(device), torch.channels_last_3d)
    return placed


def _tensor(volumes: Volumes, device: torch.device) -> Tensor:
    return torch.from_numpy(volumes).to(device).contiguous(memory_format=torch.channels_last_3d)


def _clock(device: torch.device) -> float:
    """The time, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
