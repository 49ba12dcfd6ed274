"""A command line that cannot be is one line and exit status 2."""

import sys
from pathlib import Path

import pytest

from sepvox.cli import main

CONFIGS = Path(__file__).parents[2] / "configs"
DEMO, DEMO_MRI = (str(CONFIGS / name) for name in ("demo.yaml", "demo-mri.yaml"))


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    """Exit status, and what was printed on standard error."""
    monkeypatch.setattr(sys, "argv", ["sepvox", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fragments", DEMO, "--volume", "test", "--part", "17/16"], "such as 0/4, or `create` or `finish`"),
        (["region-graph", DEMO, "--volume", "test", "--part", "create"], "--part create: expected INDEX/COUNT"),
        (["score", DEMO_MRI, "--part", "create"], "--part create: there is nothing to create"),
        (["fragments", DEMO, "--slice", "3/16"], "No such option: --slice"),
        (["fragments"], "Missing argument"),
        (["fragment", DEMO], "No such command"),
        (["compress", DEMO, "--output", "x", "--streams", "4"], "--streams"),
    ],
)
def test_a_command_line_that_cannot_be_is_one_line(monkeypatch, capsys, arguments, words):
    status, line = said(monkeypatch, capsys, *arguments)
    assert status == 2
    assert line.startswith("sepvox: ")
    assert line.count("\n") == 1
    assert words in line


def test_no_argument_shows_what_there_is(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sepvox"])
    with pytest.raises(SystemExit) as ended:
        main()
    found = capsys.readouterr()
    assert ended.value.code == 2
    assert "prepare" in found.out + found.err
