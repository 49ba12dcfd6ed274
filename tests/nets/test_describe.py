"""The description counts what the network computes."""

import json
from math import prod

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sepvox.nets.build import build
from sepvox.nets.describe import describe, render
from sepvox.nets.settings import NetworkSettings


@pytest.mark.parametrize("options", [{}, {"block": "dense", "norm": "group"}, {"name": "gonda2018-p2sc2"}], ids=str)
def test_levels_add_up_to_the_whole_and_macs_to_torchs_own_count(options):
    settings = NetworkSettings(**options)
    description = describe(settings)
    assert sum(row.parameters for row in description.levels) == description.parameters
    macs = sum(row.macs_per_output_voxel for row in description.levels)
    assert macs == pytest.approx(description.macs_per_output_voxel)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        build(settings)(torch.empty(1, 1, *description.input_shape))
    assert macs == pytest.approx(counter.get_total_flops() / 2 / prod(description.output_shape))


def test_published_description_has_the_published_numbers():
    description = json.loads(json.dumps(describe(NetworkSettings(name="gonda2018-p1sc1")).as_json()))
    assert description["parameters"] == 12_574_139
    assert (description["input_shape"], description["output_shape"]) == ([132] * 3, [44] * 3)
    first = description["levels"][0]
    assert first["kernels"] == ["1x3x3", "3x1x1", "1x3x3", "3x1x1"]
    assert (first["channels_in"], first["channels_out"]) == (1, 24)


def test_text_shows_every_level():
    description = describe(NetworkSettings())
    text = render(description)
    assert f"{description.parameters:,}" in text
    assert len(text.splitlines()) == 9 + 2 + len(description.levels)
    assert "48 x 48 x 48" in text
