"""What `make demo` made: neurons far better than grey values alone give."""

import json
from pathlib import Path

import pytest

from sepvox.config import load
from sepvox.layout import Layout
from sepvox.prepare.phantoms.em import em_phantom
from sepvox.score.intensity import tune_intensity_chain

ROOT = Path(__file__).parents[2]
LAYOUT = Layout(ROOT / "results/demo")


@pytest.mark.slow
@pytest.mark.skipif(not LAYOUT.report().exists(), reason="needs results/demo: run `make demo` first")
def test_demo_is_within_its_promise_and_twice_as_good_as_grey_values():
    chosen = json.loads(LAYOUT.scores("main", "test").read_text())["chosen"]
    assert chosen["chosen_on"] == "choose"
    assert chosen["voi_sum"] <= 0.8
    phantom = load(ROOT / "configs/demo.yaml").volumes["test"].phantom
    assert phantom is not None
    assert chosen["voi_sum"] <= tune_intensity_chain(*em_phantom(phantom, (0, 0, 0), phantom.shape)).voi_sum / 2
