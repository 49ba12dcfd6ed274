"""Run the segment path under faults and print how each ended, as one Markdown table.

path        the commands from affinities to scores, one verb after another, each in a process group of its own.
inputs      a small phantom with its truth, and affinities made from the truth and spoilt by noise.
reference   the results of a path that nothing disturbed.
line        how sepvox reports a fault: exit status 2 and one line on standard error.
case        one repetition of a fault: fresh results, the fault, and the path again.

A case ends in the bytes of the reference, or in a line; after a line, what the line asks for is done, and then the path
must end in the bytes of the reference. Anything else is a failure, and the exit status is 1.

Verbs run in processes forked from this one, which has imported the package and loaded its compiled parts, but has opened
no store: that spares the start of an interpreter and nothing more. A moment at which to kill is drawn from the processor time of the
undisturbed path, so that kills fall everywhere in it however busy the machine is. Linux only.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.ndimage import gaussian_filter

from sepvox import cli, markers, ome_zarr
from sepvox.blocks import Box, Lattice, triple
from sepvox.config import load_neurons
from sepvox.errors import SepvoxError
from sepvox.layout import Layout
from sepvox.ome_zarr import Spec
from sepvox.prepare.prepare import prepare
from sepvox.prepare.volume import open_volume
from sepvox.score import choose, score  # noqa: F401, the verbs import them when they begin
from sepvox.score.contingency import contingency
from sepvox.segment import agglomerate, fragments, region_graph, relabel  # noqa: F401, likewise
from sepvox.segment.lookup import apply_lookup, lookup_tables
from sepvox.segment.merge_scores import merge_scores
from sepvox.settings import NEAREST_OFFSETS

SHAPE, CHUNK, SHARD = (24, 24, 40), (8, 16, 16), (16, 16, 16)
EXPERIMENT: dict[str, Any] = {
    "experiment": "faults",
    "volumes": {
        "v": {
            "role": "validate",
            "phantom": {"shape": list(SHAPE), "seed": 1, "neurite_spacing": 9.0, "membrane_width": 2.0},
        }
    },
    "prepare": {"chunk": list(CHUNK), "shard": list(SHARD)},
    "network": {"weights": "none.safetensors"},
    "segment": {
        "fragments": {"cell": list(SHARD), "halo": [4, 4, 4], "seed_distance": 3, "minimum_size": 20},
        "agglomerate": {"cell": list(SHARD), "context": 4, "thresholds": [0.3, 0.5, 0.7]},
    },
}
# Each makes other results from another step on: from fragments, region-graph and agglomerate.
CHANGES: tuple[dict[str, Any], ...] = (
    {"fragments": EXPERIMENT["segment"]["fragments"] | {"seed_distance": 1, "minimum_size": 200}},
    {"agglomerate": EXPERIMENT["segment"]["agglomerate"] | {"scoring": "mean"}},
    {"minimum_size": 50},
)
CONFIG, ROOT = "experiment.yaml", Path("results/faults")
VOLUME = ("--volume", "v")
PATH = (
    ("fragments", CONFIG, *VOLUME),
    ("region-graph", CONFIG, *VOLUME),
    ("agglomerate", CONFIG, *VOLUME),
    ("score", CONFIG, *VOLUME, "--sweep"),
    ("choose", CONFIG),
    ("relabel", CONFIG, *VOLUME),
    ("score", CONFIG, *VOLUME),
)
LAYOUT = Layout(ROOT)
GIVEN = (LAYOUT.affinities("main", "v"), LAYOUT.labels("v"), LAYOUT.image("v"))
MADE = (LAYOUT.fragments("main", "v"), LAYOUT.segmentation("main", "v"))
# What a killed process leaves beside its files, and what is set aside: nothing ever reads it.
LEFT_OVER = re.compile(r"\.tmp$|\.partial$|/locks/|/\.lock$|\.stale/")
# /proc, clocks and tmpfs count in these.
PAGE = os.sysconf("SC_PAGE_SIZE")
ROOMY = "size=64m"

Files = dict[str, bytes]


class WrongEndError(Exception):
    """A case that ended neither in the right bytes nor in one line."""


class ImpossibleError(Exception):
    """A fault that cannot be made on this machine."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit status, lines on standard error but for progress bars, processor time in seconds."""

    name: str
    code: int
    lines: tuple[str, ...]
    seconds: float

    def line(self) -> str:
        """The one line of a reported fault, or WrongEndError."""
        if self.code != 2 or len(self.lines) != 1 or not self.lines[0].startswith("sepvox: "):
            last = self.lines[-1] if self.lines else "no word"
            raise WrongEndError(f"{self.name}: status {self.code}, {len(self.lines)} lines, the last: {last}")
        return self.lines[0].removeprefix("sepvox: ").replace(f"{ROOT}/", "")


def warm() -> None:
    """Load what is compiled, once for all verbs."""
    ids = np.arange(1, 9, dtype=np.uint64).reshape(2, 2, 2)
    edges, scores = merge_scores(np.full((3, 2, 2, 2), 128, np.uint8), ids, None, "mean")
    table = lookup_tables(ids.ravel(), np.ones(ids.size, np.int64), edges, scores, [0.5])
    apply_lookup(ids, ids.ravel(), table[0])
    contingency(ids, ids)


def start(home: Path, job: Callable[[], object], log: Path) -> int:
    """Fork a process, leader of its own group, that does `job` in the folder `home`; its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)
        return pid
    code: Any = 1
    try:
        os.setpgid(0, 0)
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.chdir(home)
        job()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except SepvoxError as error:
        print(f"sepvox: {error}", file=sys.stderr)
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int, name: str, log: Path) -> Ended:
    """Wait for a process."""
    _, status, usage = os.wait4(pid, 0)
    text = log.read_text() if log.exists() else ""
    lines = tuple(line for line in text.splitlines() if line.strip() and not re.search("voxel/s|s/voxel", line))
    return Ended(name, os.waitstatus_to_exitcode(status), lines, usage.ru_utime + usage.ru_stime)


def verb(arguments: Sequence[str]) -> None:
    """What the command `sepvox` does with these arguments."""
    sys.argv = ["sepvox", *arguments]
    cli.main()


def commands(restart: bool) -> Iterator[tuple[str, ...]]:
    """The path; `restart` where a verb has that option."""
    for arguments in PATH:
        yield (*arguments, "--restart") if restart and arguments[0] in ("fragments", "relabel") else arguments


def walk(home: Path, logs: Path, restart: bool = False) -> list[Ended]:
    """Do the path in `home` up to the first verb that fails."""
    found = []
    for arguments in commands(restart):
        log = logs / f"{arguments[0]}.txt"
        found.append(ended(start(home, partial(verb, arguments), log), arguments[0], log))
        if found[-1].code:
            break
    return found


def kill(home: Path, logs: Path, moment: float, restart: bool = False) -> bool:
    """Begin the path and kill it after `moment` seconds of processor time; False if it had ended by then."""
    for arguments in commands(restart):
        log = logs / f"{arguments[0]}.txt"
        pid = start(home, partial(verb, arguments), log)
        # What clock_getcpuclockid(3) gives for another process.
        clock = (~pid << 3) | 2
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.clock_gettime(clock) >= moment:
                os.killpg(pid, signal.SIGKILL)
                break
            time.sleep(0.0005)
        found = ended(pid, arguments[0], log)
        if found.code == -signal.SIGKILL:
            return True
        check(found)
        moment -= found.seconds
    return False


def files(home: Path) -> Files:
    """Every file of the results and its bytes, but for what is left over."""
    root = home / ROOT
    found = {path: path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for path, name in found.items() if not LEFT_OVER.search(f"/{name}")}


def copied(source: Path, home: Path) -> None:
    shutil.copytree(source, home, copy_function=shutil.copyfile, dirs_exist_ok=True)


def configure(home: Path, changes: dict[str, Any]) -> None:
    """Write the experiment with some keys of `segment` changed."""
    segment = EXPERIMENT["segment"] | changes
    (home / CONFIG).write_text(yaml.safe_dump(EXPERIMENT | {"segment": segment}))


def make_inputs(seed: int) -> None:
    """Prepare the phantom and write its affinities into the working folder."""
    experiment = load_neurons(CONFIG, "fragments")
    prepare(experiment, "v", Path("results"))
    volume = open_volume(LAYOUT, "v")
    truth = volume.labels_box(Box.of(SHAPE))
    channels = tuple("affinity " + " ".join(map(str, offset)) for offset in NEAREST_OFFSETS)
    store, spec = GIVEN[0], Spec(SHAPE, "uint8", volume.geometry, CHUNK, SHARD, channels)
    ome_zarr.create(store, spec)
    array, data = ome_zarr.open_level(store, writable=True), affinities(truth, seed)
    for box in Lattice(SHAPE, SHARD):
        ome_zarr.write(array, box, data[:, *box.slices])
    described = {"offsets": [list(offset) for offset in NEAREST_OFFSETS], "weights": "", "convention": "made of truth"}
    ome_zarr.finish(store, spec, described | {"fingerprint": markers.fingerprint(seed, SHAPE)})


def affinities(truth: "np.ndarray[Any, Any]", seed: int) -> "np.ndarray[Any, Any]":
    """The three nearest affinities of labels, blurred and with noise: uint8 (3, z, y, x), 255 for the same object."""
    noise = np.random.default_rng(seed)
    found = np.empty((3, *truth.shape), np.uint8)
    for axis in range(3):
        same = np.ones(truth.shape)
        moved = [np.moveaxis(volume, axis, 0) for volume in (same, truth)]
        moved[0][1:] = moved[1][1:] == moved[1][:-1]
        spoilt = gaussian_filter(same + noise.normal(0, 0.3, truth.shape), 0.6)
        found[axis] = np.rint(255 * spoilt.clip(0, 1))
    return found


def read_whole(store: Path) -> None:
    """Read every level of a store shard by shard, as the report and the viewer do, and tell its digest as a line."""
    digest = hashlib.sha256()
    for level in sorted(path.name for path in store.iterdir() if path.name.isdigit()):
        array = ome_zarr.open_level(store, int(level))
        for box in Lattice(triple(array.shape[-3:]), SHARD):
            digest.update(ome_zarr.read(array, box).tobytes())
    print(digest.hexdigest(), file=sys.stderr)


@dataclass(frozen=True)
class Bench:
    """What all cases share: folders of inputs and finished results, their files, the processor time of the path."""

    folder: Path
    inputs: Path
    finished: Path
    reference: Files
    seconds: float

    def changed(self, number: int) -> Files:
        """The files of an undisturbed path with changed settings, made when they are first asked for."""
        home = self.folder / f"changed-{number}"
        if not home.exists():
            copied(self.inputs, home)
            configure(home, CHANGES[number])
            check(walk(home, self.folder / "logs")[-1])
        found = files(home)
        if all(found[name] == self.reference[name] for name in found if "segmentation.zarr/0/c/" in name):
            raise WrongEndError(f"{CHANGES[number]} makes no other segmentation")
        return found


def set_up(folder: Path, seed: int) -> Bench:
    """Make the inputs and the reference."""
    warm()
    inputs, finished, logs = folder / "inputs", folder / "finished", folder / "logs"
    for path in (inputs, logs):
        path.mkdir(parents=True)
    configure(inputs, {})
    check(ended(start(inputs, partial(make_inputs, seed), logs / "inputs.txt"), "inputs", logs / "inputs.txt"))
    copied(inputs, finished)
    steps = walk(finished, logs)
    check(steps[-1])
    return Bench(folder, inputs, finished, files(finished), sum(step.seconds for step in steps))


def check(found: Ended) -> None:
    """WrongEndError unless a process ended well."""
    if found.code:
        raise WrongEndError(f"{found.name}: status {found.code}, {' / '.join(found.lines)}")


@dataclass(frozen=True)
class Case:
    """One repetition of a fault, in a folder of its own."""

    bench: Bench
    home: Path
    logs: Path
    rng: np.random.Generator
    number: int

    @property
    def root(self) -> Path:
        return self.home / ROOT

    def begin(self, finished: bool = False) -> None:
        """Put inputs, or finished results, into the folder."""
        copied(self.bench.finished if finished else self.bench.inputs, self.home)

    def killed(self, finished: bool = False, changes: dict[str, Any] | None = None) -> None:
        """Begin the path, on inputs or on finished results with other settings, and kill it at a random moment."""
        while True:
            self.begin(finished)
            configure(self.home, changes or {})
            if kill(self.home, self.logs, self.rng.uniform(0, self.bench.seconds), restart=finished):
                return
            shutil.rmtree(self.home)

    def walk(self, restart: bool = False) -> Ended:
        return walk(self.home, self.logs, restart)[-1]

    def same(self, reference: Files | None = None) -> None:
        """WrongEndError unless all files are those of the reference."""
        wanted, found = reference or self.bench.reference, files(self.home)
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        if wrong:
            raise WrongEndError(f"{len(wrong)} files differ from the reference, the first: {wrong[0]}")

    def settle(self, mend: Callable[[], object], says: Callable[[str], bool], restart: bool = False) -> str:
        """Do the path; after a line that `says` what it should, mend and do it again. The line, or "" without one."""
        found, line = self.walk(), ""
        if found.code:
            line = found.line()
            if not says(line):
                raise WrongEndError(f"the line does not say what and where: {line}")
            mend()
            found = self.walk(restart)
        check(found)
        self.same()
        return line

    def read(self, store: Path) -> Ended:
        log = self.logs / "read.txt"
        return ended(start(self.home, partial(read_whole, store), log), "read", log)


def pick(case: Case, paths: Sequence[Path]) -> Path:
    return paths[int(case.rng.integers(len(paths)))]


def flip(path: Path, rng: np.random.Generator) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
    path.write_bytes(bytes(content))


def truncate(path: Path, rng: np.random.Generator) -> None:
    """Cut a file short; every third time nothing of it is left, as after a power cut."""
    size = path.stat().st_size
    os.truncate(path, 0 if rng.random() < 1 / 3 else int(rng.integers(1, size)))


def remove(path: Path, _: np.random.Generator) -> None:
    path.unlink()


def names(line: str, shard: Path) -> bool:
    """Whether a line names the store, and the shard or a chunk in it."""
    array, position = str(shard).split("/c/")
    if not line.startswith(f"{Path(array).relative_to(ROOT)}: "):
        return False
    if f"shard c/{position} is " in line:
        return True
    found = re.search(r"the chunk at z y x = \((\d+), (\d+), (\d+)\) is damaged", line)
    inside = [int(begin) // size for begin, size in zip(found.groups(), SHARD, strict=True)] if found else None
    return inside == [int(part) for part in position.split("/")[-3:]]


def damaged(case: Case, store: Path, damage: Callable[[Path, np.random.Generator], None]) -> str:
    """Damage a shard of a store, read the store, and do the path."""
    case.begin(finished=store != GIVEN[0])
    shard = pick(case, sorted(path for path in (case.home / store).rglob("c/**/*") if path.is_file()))
    content, inside = shard.read_bytes(), shard.relative_to(case.home)
    whole = case.read(store).lines
    damage(shard, case.rng)
    found = case.read(store)
    line = "" if found.code == 0 and found.lines == whole else found.line()
    if line and not names(line, inside):
        raise WrongEndError(f"the line does not name {inside}: {line}")

    def mend() -> None:
        # What another step made is put back; the path makes the rest again.
        if store in GIVEN:
            shard.parent.mkdir(parents=True, exist_ok=True)
            shard.write_bytes(content)
        else:
            shutil.rmtree(case.home / store)

    # The path reads neither the image nor what is coarser than level 0.
    if store in GIVEN and (store == LAYOUT.image("v") or not inside.is_relative_to(store / "0")):
        mend()
    return case.settle(mend, lambda told: names(told, inside)) or line


def kills(case: Case) -> str:
    case.killed()
    return case.settle(lambda: None, lambda _: False)


def clock(case: Case) -> str:
    case.killed()
    for path in case.home.rglob("*"):
        when = time.time() + case.rng.uniform(-1, 1) * 10 * 365 * 86400
        os.utime(path, (when, when))
    return case.settle(lambda: None, lambda _: False)


def changed(case: Case) -> str:
    """Kill, change the settings, go on; after a refusal every other time the old settings go on."""
    number = case.number % len(CHANGES)
    wanted, line = case.bench.changed(number), ""
    case.killed()
    configure(case.home, CHANGES[number])
    found = case.walk()
    if found.code:
        line = found.line()
        if "--restart" not in line:
            raise WrongEndError(f"the line does not name --restart: {line}")
        if case.rng.random() < 0.5:
            configure(case.home, {})
            wanted, found = case.bench.reference, case.walk()
        else:
            found = case.walk(restart=True)
    check(found)
    case.same(wanted)
    return line


def changed_back(case: Case) -> str:
    """Kill while finished results are made again with other settings; go on with those of before."""
    case.killed(finished=True, changes=CHANGES[case.number % len(CHANGES)])
    configure(case.home, {})
    return case.settle(lambda: None, lambda line: "--restart" in line, restart=True)


def full_disk(case: Case) -> str:
    mount = ["mount", "-t", "tmpfs", "-o", ROOMY, "tmpfs", str(case.home)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        raise ImpossibleError("mounting a small file system needs the rights of root")
    try:
        case.begin()
        usage = os.statvfs(case.home)
        used = usage.f_blocks - usage.f_bfree
        wanted = sum(-(-len(content) // PAGE) for content in case.bench.reference.values())
        pages = int(case.rng.integers(used + 1, max(wanted, used + 2)))
        remount = ["mount", "-o", f"remount,size={pages * PAGE}", str(case.home)]
        subprocess.run(remount, check=True)
        mend = partial(subprocess.run, [*remount[:2], f"remount,{ROOMY}", str(case.home)], check=True)
        return case.settle(mend, lambda line: "No space left" in line)
    finally:
        subprocess.run(["umount", "-l", str(case.home)], check=True)


def bad_table(case: Case) -> str:
    case.begin(finished=True)
    cell = pick(case, sorted((case.root / "outputs/main/v/region_graph/cells").iterdir()))
    flip(cell, case.rng)
    return case.settle(cell.unlink, lambda line: line.startswith(str(cell.relative_to(case.root))))


def marker_without_data(case: Case) -> str:
    """Remove a shard, a store, a table, metadata of an array, or a shard of a store that is not finished."""
    kind, turn = case.number % 5, case.number // 5
    if kind == 0:
        return damaged(case, (*GIVEN[:2], *MADE)[turn % 4], remove)
    case.begin(finished=True)
    which = turn % len(MADE)
    store = case.home / MADE[which]
    if kind == 1:
        shutil.rmtree(store)
    elif kind == 2:
        pick(case, sorted(store.parent.rglob("*.npz"))).unlink()
    elif kind == 3:
        (store / "0/zarr.json").unlink()
    else:
        (store / "zarr.json").unlink()
        (case.root / "done" / ("fragments", "relabel")[which] / "main/v/finish.json").unlink()
        pick(case, sorted(path for path in (store / "0/c").rglob("*") if path.is_file())).unlink()
    return case.settle(lambda: shutil.rmtree(store), lambda line: "; remove" in line and store.name in line)


def data_without_marker(case: Case) -> str:
    """Remove a step's markers: of some blocks, of all, of the store, or of a block whose shard was cut short."""
    kind, third = case.number % 4, case.number // 4 % 3
    if kind >= 2:
        third = third % 2 * 2
    done = case.root / "done" / ("fragments", "region-graph", "relabel")[third] / "main/v"
    case.begin(finished=True)
    blocks = sorted(path for path in (done / "blocks").iterdir() if path.stem.isdigit())
    if kind == 0:
        for block in case.rng.choice(len(blocks), 3, replace=False):
            blocks[block].unlink()
    elif kind == 1:
        shutil.rmtree(done)
    elif kind == 2:
        (done / "blocks/store.json").unlink()
    else:
        block = pick(case, blocks)
        block.unlink()
        begin = Lattice(SHAPE, SHARD).box(int(block.stem)).begin
        position = "/".join(str(b // s) for b, s in zip(begin, SHARD, strict=True))
        truncate(case.home / MADE[third // 2] / "0/c" / position, case.rng)
    return case.settle(lambda: None, lambda line: "--restart" in line, restart=True)


def two_at_once(case: Case) -> str:
    """Start the path twice, the second a little later; at least one must go through."""
    case.begin()
    pids = []
    for name in "ab":
        (case.logs / name).mkdir(exist_ok=True)
        pids.append(start(case.home, partial(_told, case.home, case.logs / name), case.logs / f"{name}.txt"))
        time.sleep(case.rng.choice([0.0, case.rng.uniform(0, case.bench.seconds)]))
    found = []
    for name, pid in zip("ab", pids, strict=True):
        check(ended(pid, name, case.logs / f"{name}.txt"))
        told = json.loads((case.logs / name / "told.json").read_text())
        found.append(Ended(told["name"], told["code"], tuple(told["lines"]), told["seconds"]))
    refused = [run.line() for run in found if run.code]
    if len(refused) == 2:
        raise WrongEndError(f"neither run went through: {refused}")
    case.same()
    return case.settle(lambda: None, lambda _: False) or "".join(refused)


def _told(home: Path, logs: Path) -> None:
    (logs / "told.json").write_text(json.dumps(vars(walk(home, logs)[-1])))


def flipped(case: Case) -> str:
    return damaged(case, (*GIVEN, *MADE)[case.number % 5], flip)


def truncated(case: Case) -> str:
    return damaged(case, (*GIVEN, *MADE)[case.number % 5], truncate)


FAULTS: dict[str, Callable[[Case], str]] = {
    "SIGKILL at a random moment": kills,
    "full disk": full_disk,
    "flipped byte in a chunk": flipped,
    "flipped byte in a table": bad_table,
    "truncated shard": truncated,
    "marker without data": marker_without_data,
    "data without marker": data_without_marker,
    "two runs at once": two_at_once,
    "SIGKILL, then other settings": changed,
    "SIGKILL under other settings, then those of before": changed_back,
    "SIGKILL, then file times up to ten years off": clock,
}


def repeat(bench: Bench, fault: str, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """How each case of a fault ended: "same bytes", "one line" with the line, "failed" or "skipped" with the reason."""
    home, logs = bench.folder / "case", bench.folder / "logs"
    for number in range(count):
        home.mkdir()
        rng = np.random.default_rng([seed, list(FAULTS).index(fault), number])
        try:
            line = FAULTS[fault](Case(bench, home, logs, rng, number))
            yield ("one line", line) if line else ("same bytes", "")
        except WrongEndError as failure:
            yield "failed", f"case {number}: {failure}"
        except ImpossibleError as why:
            yield "skipped", str(why)
            return
        finally:
            shutil.rmtree(home)


def row(fault: str, found: Sequence[tuple[str, str]]) -> str:
    """A row of the table; of lines it shows the first part of the first one."""
    counts, words = Counter(how for how, _ in found), []
    for how, count in sorted(counts.items(), reverse=True):
        first = next(text for other, text in found if other == how).split("; ")[0]
        words.append(f"{how} ({count})" + (f", such as `{first}`" if first else ""))
    return f"| {fault} | {len(found)} | {'<br>'.join(words)} |".replace("\n", " ")


def main() -> int:
    """Print the table; 1 if anything failed."""
    parser = argparse.ArgumentParser(description="Run the segment path under faults.")
    parser.add_argument("--kills", type=int, default=50, help="repetitions of SIGKILL")
    parser.add_argument("--others", type=int, default=20, help="repetitions of every other fault")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=FAULTS, help="one fault alone")
    given = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bench = set_up(Path(folder) / "bench", given.seed)
        print("| fault | how often | how it ended |\n|---|---|---|")
        for fault in FAULTS:
            if given.only in (None, fault):
                count = given.kills if FAULTS[fault] is kills else given.others
                found = list(repeat(bench, fault, count, given.seed))
                print(row(fault, found), flush=True)
                failed += [f"{fault}: {text}" for how, text in found if how == "failed"]
    for failure in failed:
        print(failure, file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
