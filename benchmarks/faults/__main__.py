"""Run the segment path under faults and print how each ended, as one Markdown table.

A case ends in the bytes of the reference, or in a line; after a line, what the line asks for is done, and then the path
must end in the bytes of the reference. Anything else is a failure, and the exit status is 1.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.faults import damage, interruptions
from benchmarks.faults.bench import Bench, Case, set_up
from benchmarks.faults.processes import WrongEndError

KILL = "SIGKILL at a random moment"
FAULTS: dict[str, Callable[[Case], str]] = {
    KILL: interruptions.kill,
    "full disk": interruptions.full_disk,
    "flipped byte in a chunk": damage.flipped_byte,
    "flipped byte in a table": damage.flipped_byte_in_a_table,
    "truncated shard": damage.truncated_shard,
    "marker without data": damage.marker_without_data,
    "data without marker": damage.data_without_marker,
    "two runs at once": interruptions.two_runs,
    "SIGKILL, then other settings": interruptions.kill_and_change_settings,
    "SIGKILL under other settings, then those of before": interruptions.kill_and_change_back,
    "SIGKILL, then file times up to ten years off": interruptions.kill_and_change_times,
}


def repeat(bench: Bench, fault: str, count: int, seed: int) -> Iterator[tuple[str, str]]:
    """How each case of a fault ended: "same bytes", "one line" with the line, "failed" or "skipped" with the reason."""
    home = bench.folder / "case"
    for number in range(count):
        home.mkdir()
        rng = np.random.default_rng([seed, list(FAULTS).index(fault), number])
        try:
            line = FAULTS[fault](Case(bench, home, rng, number))
            yield ("one line", line) if line else ("same bytes", "")
        except WrongEndError as failure:
            yield "failed", f"case {number}: {failure}"
        except interruptions.ImpossibleError as why:
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
    parser = argparse.ArgumentParser("python -m benchmarks.faults", description="Run the segment path under faults.")
    parser.add_argument("--kills", type=int, default=50, help="repetitions of SIGKILL")
    parser.add_argument("--others", type=int, default=20, help="repetitions of every other fault")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=FAULTS, help="one fault alone")
    given = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bench = set_up(Path(folder), given.seed)
        print("| fault | how often | how it ended |\n|---|---|---|")
        for fault in FAULTS:
            if given.only in (None, fault):
                found = list(repeat(bench, fault, given.kills if fault == KILL else given.others, given.seed))
                print(row(fault, found), flush=True)
                failed += [f"{fault}: {text}" for how, text in found if how == "failed"]
    for failure in failed:
        print(failure, file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
