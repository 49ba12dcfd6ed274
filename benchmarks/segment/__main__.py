"""Segment stored affinities by sepvox, by waterz on the whole volume and by volara, side by side on this machine.

    python -m benchmarks.segment [AFFINITIES] [--labels LABELS] [--peer-python PYTHON] [--repeat 3]

AFFINITIES and LABELS are affinities.zarr and labels.zarr of a finished run; without them a phantom is made and its exact
affinities are degraded. All ways score contacts by mean affinities, which is the scoring that they have in common. Every
way starts from the store and ends with a segmentation in a store; the start of its programs is part of its time.

- sepvox: its command line, `fragments`, `region-graph`, `agglomerate` and `relabel`, without Snakemake.
- waterz, whole volume: one process, fragments by sepvox's method without cells; and with waterz's own watershed.
- volara, where --peer-python is a Python that has it: `volara_peer.py`.

*VI to waterz* is to waterz's segmentation of the whole volume at the threshold at which it is nearest. Prints Markdown tables
and writes a JSON file.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import volumes
from benchmarks.degraded import OFFSETS, save
from benchmarks.segment.comparison import Bench, compare
from benchmarks.segment.tables import measured_table, ratio_table, step_table
from benchmarks.segment.timing import CommandError
from benchmarks.segment.ways import PEER, Sepvox, Volara, Waterz, Way
from sepvox import markers, ome_zarr
from sepvox.errors import InputError, SepvoxError
from sepvox.prepare.settings import PrepareSettings
from sepvox.report.machine import hardware, versions
from sepvox.segment.settings import AgglomerateSettings

ROOT = Path(__file__).parents[2]
BACKENDS = ("mean", "waterz")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.segment", description=(__doc__ or "").partition("\n")[0])
    volumes.add_arguments(parser)
    parser.add_argument("--processes", type=int, nargs="+", default=(1, 2))
    # Small enough that the default volume has several.
    parser.add_argument("--cell", type=int, default=128, help="edge of agglomerate.cell")
    parser.add_argument("--peer-python", type=Path, help="Python of an environment with volara")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("segment.json"), help="what to write")
    return parser.parse_args()


def stored(given: argparse.Namespace, folder: Path) -> tuple[Path, volumes.Labels | None]:
    """The store of affinities, which is made where none is given, and the truth, if it is known."""
    if given.affinities is not None:
        return given.affinities.absolute(), volumes.stored_labels(given)
    found, labels = volumes.made(given, OFFSETS)
    store, layout = folder / "affinities.zarr", PrepareSettings()
    save(store, found, OFFSETS, markers.fingerprint(volumes.described(given)), layout.chunk, layout.shard)
    return store, labels


def all_ways(store: Path, processes: Sequence[int], cell: int, peer: Path | None) -> tuple[list[Way], Way]:
    """The ways in the order of the table, and the one that others are compared with."""
    reference = Waterz(store, "distance")
    found: list[Way] = [Sepvox(store, backend, count, cell) for backend in BACKENDS for count in processes]
    found += [reference, Waterz(store, "own")]
    if peer is not None:
        found += [Volara(store, peer.absolute(), count) for count in processes]
    return found, reference


def variables() -> dict[str, str]:
    """The environment of the commands: libraries bring no threads of their own, so that processes are what counts."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, **single, "PYTHONPATH": path}


def peer_versions(python: Path) -> dict[str, str]:
    """Versions of the packages of volara's environment."""
    try:
        done = subprocess.run([python, "-P", PEER, "--versions"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(f"--peer-python {python}: cannot be run ({error.strerror}); give a Python") from None
    if done.returncode:
        raise InputError(f"--peer-python {python}: {done.stderr.strip().splitlines()[-1]}; install volara there")
    found: dict[str, str] = json.loads(done.stdout)
    return found


def run(given: argparse.Namespace, folder: Path) -> None:
    """Measure, print and write."""
    software = {"sepvox": versions()}
    if given.peer_python is not None:
        software["volara"] = peer_versions(given.peer_python)
    store, truth = stored(given, folder)
    shape = ome_zarr.open_level(store).shape
    ways, reference = all_ways(store, given.processes, given.cell, given.peer_python)
    bench = Bench(folder, variables(), truth)
    measured = compare(bench, ways, reference, AgglomerateSettings().thresholds, given.repeat)
    document = {
        "volume": volumes.described(given),
        "shape": shape,
        "settings": {name: str(value) for name, value in vars(given).items()},
        "hardware": hardware(),
        "software": software,
        "ways": [one.as_json() for one in measured],
    }
    given.json.write_text(json.dumps(document, indent=2) + "\n")
    print(f"{volumes.described(given)}; {given.repeat} repetitions\n")
    print(", ".join(hardware().values()))
    for environment, packages in software.items():
        print(f"\n{environment}: {', '.join(f'{name} {version}' for name, version in packages.items())}")
    for table in (measured_table, ratio_table, step_table):
        print(f"\n{table(measured)}")


def main() -> int:
    """Print the tables; 1 if a way failed, 2 with one line for what was given wrong."""
    given = arguments()
    cores = len(os.sched_getaffinity(0))
    try:
        volumes.check(given)
        if max(given.processes) > cores:
            raise InputError(f"--processes {max(given.processes)}: there are {cores} cores; give no more")
        with tempfile.TemporaryDirectory(prefix="segment-") as folder:
            run(given, Path(folder))
    except SepvoxError as error:
        print(f"benchmarks.segment: {error}", file=sys.stderr)
        return 2
    except CommandError as error:
        print(f"benchmarks.segment: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
