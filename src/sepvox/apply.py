"""apply: trained weights on scans, file by file, without an experiment.

Scans are prepared as those that the weights were trained on, predicted, decided, and written as NAME_seg.nii.gz in their
own space, where NAME is the scan's file name without its suffix. A file that cannot be used is named in one line and the
others go on. What is needed in between lies in a hidden folder of the output folder until its file is done.
"""

import csv
import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tqdm import tqdm

from sepvox import ome_zarr
from sepvox.blocks import Part
from sepvox.errors import ConfigError, InputError, SepvoxError
from sepvox.experiments.classes import ClassesExperiment
from sepvox.experiments.subjects import SubjectsSettings
from sepvox.layout import Layout
from sepvox.nets.settings import ClassNetworkSettings
from sepvox.predict.class_model import ClassModel, read_class_model
from sepvox.predict.class_networks import Method, load_forward, method_of, predict_subject
from sepvox.predict.class_tiles import Forward
from sepvox.predict.settings import ClassPredictSettings
from sepvox.prepare.subject import open_subject
from sepvox.prepare.subjects import prepare_subjects
from sepvox.segment.class_map import decide, write_scan
from sepvox.segment.clean_up import CleanUp, majority, read_clean_up

SUFFIXES: Final = (".nii.gz", ".nii", ".mgz", ".mgh")
RESULT: Final = "_seg.nii.gz"
_EXPERIMENT: Final = "apply"
_MODEL: Final = "main"
# Faults that every file would have.
_OF_THE_DISK: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass(frozen=True)
class _Case:
    """One scan, or one subject with several: the files by modality, and what is written."""

    images: Mapping[str, Path]
    result: Path

    @property
    def first(self) -> Path:
        return next(iter(self.images.values()))


def apply(
    weights: Sequence[Path],
    output: Path,
    inputs: Sequence[Path] = (),
    modalities: Mapping[str, Path] | None = None,
    overwrite: bool = False,
    settings: ClassPredictSettings | None = None,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Segment scans.

    Parameters
    ----------
    weights : paths
        best.safetensors files with their config.json beside them; several are an ensemble. Where a clean_up.json lies
        beside them it is followed; of several, what more than half of them clean.
    output : Path
        Folder for the results; made where it is missing.
    inputs : paths
        Files, or folders whose NIfTI and MGH files are taken, but for earlier results (`_seg`). For weights of one
        modality.
    modalities : mapping of modality to file, optional
        Instead of `inputs`: the scans of one subject, which must lie on one grid.
    overwrite : bool
        Replace existing results.
    settings : ClassPredictSettings
        Tile, overlap, test-time augmentation, device and precision.
    tell : callable
        Takes one line for every file that is done or cannot be used; printed on standard error by default.

    Raises
    ------
    ConfigError
        If inputs and weights do not go together, or results exist and `overwrite` is false; nothing was done then.
    InputError
        If there are no scans or no usable weights; at the end if some scans could not be used, with their number.
    """
    settings, tell = settings or ClassPredictSettings(), tell or partial(tqdm.write, file=sys.stderr)
    models = [read_class_model(path) for path in weights]
    if not models:
        raise ConfigError("--weights: none given; give a best.safetensors file, several for an ensemble")
    if os.path.lexists(output) and not output.is_dir():
        raise ConfigError(f"--output {output}: is no folder; give the path of one, or of none yet")
    method = method_of(models, settings)
    clean_up = _clean_up(models)
    cases = _cases(models[0].modalities, output, inputs, modalities)
    _check_results(cases, overwrite)
    forward = load_forward(models, settings)
    failed: list[Path] = []
    with _workplace(output) as folder:
        for case in cases:
            try:
                _segment(case, method, forward, clean_up, folder)
            except (SepvoxError, MemoryError, OSError) as error:
                if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                    raise
                failed.append(case.first)
                tell(
                    f"sepvox: {error}"
                    if isinstance(error, SepvoxError)
                    else f"sepvox: {_shown(case.first)}: {_why(error)}"
                )
            else:
                tell(f"{case.result}")
            finally:
                shutil.rmtree(folder / _EXPERIMENT, ignore_errors=True)
    if failed:
        raise InputError(
            f"{len(failed)} of {len(cases)} inputs could not be used, the first is {_shown(failed[0])}; mend them as told above, and run again with these alone"
        )


def _why(error: MemoryError | OSError) -> str:
    if isinstance(error, MemoryError):
        return "out of memory; take a machine with more, or a smaller scan"
    mend = "shorten its name or that of --output" if error.errno == errno.ENAMETOOLONG else "mend that, and run again"
    return f"cannot be segmented ({error.strerror}); {mend}"


def _shown(path: Path) -> str:
    """A path that any terminal can show."""
    return str(path).encode(errors="backslashreplace").decode()


def _segment(case: _Case, method: Method, forward: Forward, clean_up: CleanUp, folder: Path) -> None:
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", _stem(case.first)).lstrip("_.-") or "scan"
    experiment = _experiment(case, name, method.models[0], folder)
    prepare_subjects(experiment, folder, Part(0, 1))
    layout = Layout(folder / _EXPERIMENT)
    subject = open_subject(layout, name, experiment.classes)
    store = layout.probabilities(_MODEL, name)
    predict_subject(subject, method, forward, store, experiment.prepare, subject.fingerprint)
    decision = decide(ome_zarr.open_level(store), clean_up)
    write_scan(case.result, decision, experiment.classes, subject.grid, subject.header)


def _experiment(case: _Case, name: str, model: ClassModel, folder: Path) -> ClassesExperiment:
    """The experiment of one subject without labels, so that scans are prepared by the code that prepared for training."""
    for path in case.images.values():
        if str(path) != _shown(path):
            raise InputError(f"{_shown(path)}: its name is not UTF-8; rename it")
    columns = {"image" if modality == "image" else f"image_{modality}": path for modality, path in case.images.items()}
    table = folder / "subjects.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["subject", *columns], [name, *(str(path.absolute()).replace("$", "$$") for path in columns.values())]]
        )
    return ClassesExperiment(
        experiment=_EXPERIMENT,
        task="classes",
        subjects=SubjectsSettings(table=str(table)),
        classes=dict(model.classes),
        prepare=model.prepare.model_copy(update={"levels": 1, "slices": 1, "processes": 1}),
        network=ClassNetworkSettings(weights=str(model.weights)),
    )


def _cases(
    wanted: Sequence[str], output: Path, inputs: Sequence[Path], modalities: Mapping[str, Path] | None
) -> list[_Case]:
    """What is to be segmented, in the order in which it was given.

    `wanted` are the modalities of the weights.
    """
    by_modality = " ".join(f"--modality {modality}=FILE" for modality in wanted)
    if modalities:
        if inputs or set(modalities) != set(wanted):
            given = [f"--modality {', '.join(modalities)}", *map(str, inputs)]
            raise ConfigError(
                f"{' and '.join(given)}: expected {by_modality}, or INPUT alone; the weights take {', '.join(wanted)}"
            )
        cases = [_case({modality: modalities[modality] for modality in wanted}, output)]
    elif len(wanted) > 1:
        raise ConfigError(
            f"INPUT: one file per subject, but the weights take {', '.join(wanted)}; give one subject as {by_modality}"
        )
    else:
        files = [file for path in inputs for file in _files(path)]
        cases = [_case({wanted[0]: file}, output) for file in files]
    if not cases:
        raise ConfigError("INPUT: none given; give scans, or folders of scans")
    for case in cases:
        for path in case.images.values():
            if not path.exists():
                raise InputError(f"{path}: does not exist; check the path")
    return cases


def _files(path: Path) -> list[Path]:
    """The scans of a folder, or the file itself."""
    if not path.is_dir():
        return [path]
    found = sorted(
        file
        for file in path.iterdir()
        if file.is_file()
        and file.name.lower().endswith(SUFFIXES)
        and not file.name.startswith(".")
        and not _stem(file).endswith("_seg")
    )
    if not found:
        raise InputError(f"{path}: holds no scan; expected files that end in {', '.join(SUFFIXES)}")
    return found


def _case(images: Mapping[str, Path], output: Path) -> _Case:
    return _Case(images, output / f"{_stem(next(iter(images.values())))}{RESULT}")


def _stem(path: Path) -> str:
    """The file's name without the suffix of a scan."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def _check_results(cases: Sequence[_Case], overwrite: bool) -> None:
    by_result: dict[Path, Path] = {}
    for case in cases:
        if case.result in by_result:
            raise ConfigError(
                f"{by_result[case.result]} and {case.first}: both would be written to {case.result}; apply them to folders of their own"
            )
        by_result[case.result] = case.first
        if case.result.is_dir():
            raise ConfigError(f"{case.result}: is a folder, where a result belongs; move it, or give another --output")
    there = [case.result for case in cases if case.result.exists()]
    if there and not overwrite:
        raise ConfigError(
            f"{there[0]}: exists already, as {len(there)} of {len(cases)} results do; give --overwrite to replace them, or another --output"
        )


def _clean_up(models: Sequence[ClassModel]) -> CleanUp:
    """What more than half of the clean_up.json beside the weights say; none says nothing is cleaned."""
    choices = []
    for model in models:
        path = model.weights.parent / "clean_up.json"
        mend = "copy it again from where the weights are from, or remove it"
        choices.append(read_clean_up(path, model.classes, mend) if path.exists() else CleanUp())
    return majority(choices)


@contextmanager
def _workplace(output: Path) -> Iterator[Path]:
    """A folder for intermediate files inside the output folder; both are gone afterwards where they hold nothing more."""
    missing = [made for made in (output, *output.parents) if not made.exists()]
    output.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".sepvox-", dir=output) as folder:
            yield Path(folder)
    finally:
        for made in missing:
            if any(made.iterdir()):
                break
            made.rmdir()
