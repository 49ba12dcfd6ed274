"""Train one unit of a Video-MNIST study, and test what it learned.

While it trains, `models/{unit}/state/` holds its checkpoint; at the end best.safetensors, config.json and metrics.jsonl
stand in its place. A unit that is trained is not trained again where only what it is tested on has changed.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sepvox
from sepvox import markers
from sepvox.layout import Layout
from sepvox.nets import weights
from sepvox.nets.lenet import build_lenet5
from sepvox.nets.tt import materialised
from sepvox.studies.video_mnist.learn import Plan, learn
from sepvox.studies.video_mnist.records import TRAIN, Records
from sepvox.studies.video_mnist.samples import fixed_subset, read_samples, recognised
from sepvox.studies.video_mnist.settings import VideoMnistStudy
from sepvox.studies.video_mnist.units import Unit
from sepvox.train.device import choose_device


def train_unit(study: VideoMnistStudy, unit: Unit, results: Path, restart: bool = False) -> None:
    """Train and test one unit, or go on with one that was interrupted.

    Parameters
    ----------
    results : Path
        Folder of all results.
    restart : bool
        Move a training of other settings or videos aside instead of refusing to go on.

    Raises
    ------
    InputError
        If a class has too few videos.
    StaleError
        If there is a training of other settings or videos and `restart` is false, or its learning rate was chosen with
        others.
    StoreError
        If the videos or the chosen learning rate are missing, something stored is damaged, or another process trains
        this unit.
    """
    layout = Layout(results / study.experiment)
    records = Records(study, layout)
    with markers.locked(layout.step(TRAIN, "locks") / unit.name):
        device = choose_device(records.table.train.device, "float32").device
        if not records.is_trained(unit):
            _train(records, unit, device, restart)
        made = records.trained(unit)
        if unit.rate is None:
            if not records.is_tested(unit):
                _test(records, unit, device)
            made = records.tested(unit)
        markers.mark(layout.done(TRAIN, unit.name), made)


def _train(records: Records, unit: Unit, device: torch.device, restart: bool) -> None:
    table, layout, made = records.table, records.layout, records.trained(unit)
    model, state = layout.model(unit.name), layout.state(unit.name)
    if model.exists() and not markers.is_done(state / "run.json", made):
        markers.set_aside(model, restart, "holds a training with other settings or videos")
    train, net = table.train, unit.classifier(table)
    plan = Plan(net, unit.seed(table), records.rate(unit), train)
    shown = fixed_subset(layout, "train", unit.videos, plan.seed, "table.rows")
    judged = fixed_subset(layout, "validation", train.validation_videos, train.seed, "table.train.validation_videos")
    training = read_samples(layout, "train", shown, device)
    validation = read_samples(layout, "validation", judged, device)
    markers.mark(state / "run.json", made)
    learned = learn(plan, training, validation, state)
    record = {
        "sepvox": sepvox.__version__,
        "network": net.name,
        "parameters": sum(tensor.numel() for tensor in learned.weights.values()),
        "videos": unit.videos,
        "video_indices": sorted(shown.tolist()),
        "seed": plan.seed,
        "learning_rate": plan.rate,
        "epoch": learned.epoch,
        "validation": {"videos": train.validation_videos, "accuracy": learned.accuracy},
        "diverged": learned.diverged,
    }
    weights.save(layout.weights(unit.name), learned.weights, {"network": net.name, "epoch": learned.epoch})
    (state / "metrics.jsonl").replace(layout.metrics(unit.name))
    # Written last: it says that the others are there.
    markers.mark(layout.model_config(unit.name), made, **record)
    shutil.rmtree(state)


def _test(records: Records, unit: Unit, device: torch.device) -> None:
    table, layout = records.table, records.layout
    network = build_lenet5(unit.classifier(table))
    weights.load_into(network, layout.weights(unit.name))
    judge = materialised(network).to(device)
    subset = None
    if table.test.videos is not None:
        subset = fixed_subset(layout, "test", table.test.videos, table.train.seed, "table.test.videos")
    whole = subset is None or unit.run < table.test.whole_runs
    right = recognised(judge, read_samples(layout, "test", None if whole else subset, device))
    found: dict[str, Any] = {"subset": None, "whole": _share(right) if whole else None}
    if subset is not None:
        found["subset"] = _share(right[subset] if whole else right)
    markers.mark(layout.accuracy(unit.name), records.tested(unit), network=unit.network, run=unit.run, **found)


def _share(right: Any) -> dict[str, Any]:
    return {"videos": len(right), "accuracy": float(np.mean(right))}
