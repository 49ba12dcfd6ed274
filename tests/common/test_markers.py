"""Small files: the first of several writers decides, and damage is one line that says what to do."""

import errno
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from sepvox import markers
from sepvox.errors import StoreError


def _claim(path: Path, value: int, answers) -> None:
    answers.put(markers.claim(path, value))


def test_the_first_claim_holds_for_all_processes(tmp_path):
    path = tmp_path / "folder/claim.json"
    assert markers.claim(path, "first") == "first"
    assert markers.claim(path, "second") == "first"
    path.unlink()
    # Forked: nothing is imported again, so that they come at the same time.
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    claimants = [context.Process(target=_claim, args=(path, value, answers)) for value in range(8)]
    for claimant in claimants:
        claimant.start()
    found = {answers.get(timeout=60) for _ in claimants}
    for claimant in claimants:
        claimant.join()
    assert found == {markers.read_json(path)}


def test_a_claim_that_was_cut_short_is_made_again(tmp_path):
    (tmp_path / "claim.json").touch()
    assert markers.claim(tmp_path / "claim.json", "next") == "next"


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_told_with_the_mend(tmp_path, monkeypatch, code):
    def refused(*_):
        raise OSError(code, "refused")

    monkeypatch.setattr(markers.fcntl, "lockf", refused)
    with (
        pytest.raises(StoreError, match=r"lock: cannot be locked \(refused\); put results on a file system with locks"),
        markers.locked(tmp_path / "lock"),
    ):
        pass


def test_equal_arrays_are_equal_bytes_and_only_what_is_named_is_read(tmp_path):
    for name in ("a.npz", "b.npz"):
        markers.write_arrays(tmp_path / name, ids=np.arange(9), made_from="text")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = markers.read_arrays(tmp_path / "a.npz", "it", "made_from")
    assert list(found) == ["made_from"]
    assert str(found["made_from"]) == "text"


def test_missing_and_lacking_files_say_what_to_run(tmp_path):
    with pytest.raises(StoreError, match=r"a\.npz: missing; run `sepvox x` first"):
        markers.read_arrays(tmp_path / "a.npz", "`sepvox x`", "ids")
    markers.write_arrays(tmp_path / "a.npz", other=np.arange(9))
    with pytest.raises(StoreError, match=r"a\.npz: damaged .*ids.*run `sepvox x` again"):
        markers.read_arrays(tmp_path / "a.npz", "`sepvox x`", "ids")
    markers.write_json(tmp_path / "a.json", {"threshold": 1})
    with pytest.raises(StoreError, match=r"a\.json: has no `scoring`; remove it and run"):
        markers.read_json(tmp_path / "a.json", "threshold", "scoring")
    with pytest.raises(StoreError, match=r"a\.json: has no `scoring`; remove it and run `sepvox x` again"):
        markers.read_json(tmp_path / "a.json", "scoring", step="`sepvox x`")
    with pytest.raises(StoreError, match=r"b\.json: missing; run `sepvox x` first"):
        markers.read_json(tmp_path / "b.json", step="`sepvox x`")
    with pytest.raises(StoreError, match=r"a\.json: has no `scoring`; mend it so"):
        markers.read_json(tmp_path / "a.json", "scoring", mend="mend it so")


@pytest.mark.parametrize(
    "error", [MemoryError("900 GiB"), OSError(errno.EMFILE, "Too many open files"), OSError(errno.EIO, "I/O")]
)
def test_a_machine_that_fails_is_not_taken_for_damage(tmp_path, monkeypatch, error):
    path = tmp_path / "a.npz"
    markers.write_arrays(path, ids=np.arange(9))

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(np, "load", fails)
    with pytest.raises(type(error)):
        markers.read_arrays(path, "it", "ids")
    if isinstance(error, MemoryError):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
        with pytest.raises(StoreError, match="damaged"):
            markers.read_arrays(path, "it", "ids")


def test_checksums_tell_arrays_apart(tmp_path):
    for name, ids in (("a", np.arange(9)), ("b", np.arange(9)), ("c", np.arange(1, 10))):
        markers.write_arrays(tmp_path / f"{name}.npz", ids=ids, other=np.arange(3))
    a, b, c = (markers.checksums(tmp_path / f"{name}.npz", "it", "ids", "other") for name in "abc")
    assert a == b
    assert (a[0] != c[0], a[1] == c[1]) == (True, True)
    with pytest.raises(StoreError, match="missing"):
        markers.checksums(tmp_path / "d.npz", "it", "ids")
    with pytest.raises(StoreError, match="damaged"):
        markers.checksums(tmp_path / "a.npz", "it", "none")
