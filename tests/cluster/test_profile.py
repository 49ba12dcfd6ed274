"""profiles/slurm is about the workflow's rules, and what it says of them is true."""

import re
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]
PROFILE = REPOSITORY / "profiles" / "slurm" / "profile.yaml"


def resources() -> dict[str, tuple[int, int]]:
    """Memory in MB and minutes that each rule declares."""
    text = "\n".join(path.read_text() for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"))
    _, *parts = re.split(r"^ *rule (\w+):$", text, flags=re.MULTILINE)
    asked = {
        rule: re.search(r'mem_mb=(\d+)[^,]*,\s+runtime="(\d+)([mh])"', body)
        for rule, body in zip(parts[::2], parts[1::2], strict=True)
    }
    return {
        rule: (int(found[1]), int(found[2]) * {"m": 1, "h": 60}[found[3]])
        for rule, found in asked.items()
        if found is not None
    }


def everything_switched_on() -> dict[str, dict[str, object]]:
    text = re.sub(r"^#(?=\S|  )", "", PROFILE.read_text(), flags=re.MULTILINE)
    profile: dict[str, dict[str, object]] = yaml.safe_load(text)
    return profile


def test_every_rule_that_the_profile_names_exists() -> None:
    profile = everything_switched_on()
    assert {"set-threads", "set-resources", "groups"} <= profile.keys()
    for section in ("set-threads", "set-resources", "groups"):
        assert profile[section].keys() <= resources().keys()


def test_every_rule_has_more_memory_and_no_less_time_at_the_next_attempt() -> None:
    asked = everything_switched_on()["set-resources"]
    assert asked.keys() == resources().keys()
    for rule, given in asked.items():
        first, second = (
            {key: eval(str(given[key]), {"attempt": n, "threads": 1}) for key in ("mem_mb", "runtime")} for n in (1, 2)
        )
        assert second["mem_mb"] == 2 * first["mem_mb"], rule
        assert second["runtime"] in (first["runtime"], 2 * first["runtime"]), rule
