"""Weights survive the disk, and what is not this network's is refused in one line."""

import pytest
import torch

from sepvox.errors import InputError, StoreError
from sepvox.nets.build import build
from sepvox.nets.settings import NetworkSettings
from sepvox.nets.weights import load, load_into, load_metadata, save

SETTINGS = NetworkSettings(width=4, depth=1, norm="batch")


def _state(settings=SETTINGS):
    return build(settings).state_dict()


def test_weights_and_metadata_come_back_as_they_were(tmp_path):
    path = tmp_path / "best.safetensors"
    net = build(SETTINGS).to(memory_format=torch.channels_last_3d)
    save(path, net.state_dict(), {"iteration": 7, "offsets": [[-1, 0, 0]]})
    assert load_metadata(path) == {"iteration": 7, "offsets": [[-1, 0, 0]]}
    other = build(SETTINGS)
    load_into(other, path)
    stored = load(path)
    assert stored.keys() == net.state_dict().keys()
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, stored[name])
        assert torch.equal(tensor, other.state_dict()[name])
    assert [each.name for each in tmp_path.iterdir()] == ["best.safetensors"]


def test_equal_weights_are_equal_files(tmp_path):
    state = _state()
    contents = set()
    for i in range(4):
        save(tmp_path / str(i), dict(state), {str(key): key for key in range(9)})
        contents.add((tmp_path / str(i)).read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    "other", [{"width": 6}, {"depth": 2}, {"block": "dense"}, {"block": "tt"}, {"norm": "none"}], ids=str
)
def test_weights_of_another_network_are_refused_naming_the_tensor_and_both_shapes(tmp_path, other):
    path = tmp_path / "other.safetensors"
    save(path, _state(NetworkSettings(**{"width": 4, "depth": 1, "norm": "batch", **other})), {})
    net = build(SETTINGS)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_into(net, path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert "in the file" in message
    assert "in the configured network" in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_refusal_shows_the_first_differing_tensor(tmp_path):
    path = tmp_path / "wide.safetensors"
    save(path, _state(NetworkSettings(width=6, depth=1)), {})
    with pytest.raises(
        InputError, match=r"encoders\.0\.0\.streams\.0\.0\.0\.weight is 3x1x1x3x3 in the file, 2x1x1x3x3"
    ):
        load_into(build(NetworkSettings(width=4, depth=1)), path)


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "absent"])
def test_what_is_no_whole_safetensors_file_is_refused(tmp_path, damage):
    path = tmp_path / "best.safetensors"
    save(path, _state(), {})
    if damage == "text":
        path.write_text("weights")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.unlink()
    with pytest.raises(InputError) as caught:
        load_into(build(SETTINGS), path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        save(tmp_path / "taken", _state(), {})
    with pytest.raises(StoreError, match="cannot be written"):
        save(tmp_path / "taken" / "inside" / "best.safetensors", _state(), {})
    assert [each.name for each in tmp_path.rglob("*")] == ["taken", "inside"]
