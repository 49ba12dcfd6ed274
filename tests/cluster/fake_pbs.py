"""qsub, qstat and qdel of a batch system that runs every job at once: `python fake_pbs.py FOLDER qsub|qstat|qdel ARGUMENTS`.

It keeps, in FOLDER, for job N the arguments it was given, N.given, the number of its session, N.session, and at its end
its exit status, N.ended. It prints what OpenPBS prints, as far as profiles/pbs reads it.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

KILLED = 256 + signal.SIGTERM


def qsub(folder: Path, given: list[str]) -> None:
    number = len(list(folder.glob("*.given")))
    ended = folder / f"{number}.ended"
    program = 'sh "$0"; code=$?; echo $code > "$1.part" && mv "$1.part" "$1"'
    with (folder / f"{number}.log").open("w") as log:
        job = subprocess.Popen(
            ["sh", "-c", program, given[-1], ended], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    (folder / f"{number}.session").write_text(str(job.pid))
    (folder / f"{number}.given").write_text(json.dumps(given))
    print(f"{number}.fake")


def qstat(folder: Path, given: list[str]) -> None:
    assert given[:2] == ["-x", "-f"]
    number = given[2].removesuffix(".fake")
    if not (folder / f"{number}.given").exists():
        sys.exit(f"qstat: Unknown Job Id {given[2]}")
    ended = folder / f"{number}.ended"
    print(f"Job Id: {given[2]}\n    job_state = {'F' if ended.exists() else 'R'}")
    if ended.exists():
        print(f"    Exit_status = {ended.read_text().strip()}")


def qdel(folder: Path, given: list[str]) -> None:
    for name in given:
        number = name.removesuffix(".fake")
        os.killpg(int((folder / f"{number}.session").read_text()), signal.SIGTERM)
        (folder / f"{number}.ended").write_text(str(KILLED))


if __name__ == "__main__":
    {"qsub": qsub, "qstat": qstat, "qdel": qdel}[sys.argv[2]](Path(sys.argv[1]), sys.argv[3:])
