"""profiles/slurm is about the workflow's rules, and what it says of them is true."""

import re
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]
PROFILE = REPOSITORY / "profiles" / "slurm" / "profile.yaml"


def resources() -> dict[str, tuple[int, int]]:
    """Memory in MB and minutes that each rule declares."""
    text = "".join(path.read_text() for path in sorted((REPOSITORY / "workflow" / "rules").glob("*.smk")))
    found = re.findall(r'^ *rule (\w+):.*?mem_mb=(\d+),\s+runtime="(\d+)([mh])"', text, flags=re.DOTALL | re.MULTILINE)
    return {rule: (int(mb), int(time) * {"m": 1, "h": 60}[unit]) for rule, mb, time, unit in found}


def everything_switched_on() -> dict[str, dict[str, object]]:
    text = re.sub(r"^#(?=\S|  )", "", PROFILE.read_text(), flags=re.MULTILINE)
    profile: dict[str, dict[str, object]] = yaml.safe_load(text)
    return profile


def test_every_rule_that_the_profile_names_exists() -> None:
    profile = everything_switched_on()
    assert {"set-threads", "set-resources", "groups"} <= profile.keys()
    for section in ("set-threads", "set-resources", "groups"):
        assert profile[section].keys() <= resources().keys()


def test_a_rule_that_the_profile_does_not_name_asks_for_as_little_as_it_says() -> None:
    said = re.search(r"# here asks for at most (\d+) MB and (\d+) minutes", PROFILE.read_text())
    assert said is not None
    others = {
        rule: asked for rule, asked in resources().items() if rule not in everything_switched_on()["set-resources"]
    }
    assert others
    for rule, (mb, minutes) in others.items():
        assert mb <= int(said[1]), rule
        assert minutes <= int(said[2]), rule
