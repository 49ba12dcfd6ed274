"""Tables, counts, sweeps and thresholds are read only with what they were made from, and damage is one clear line."""

import contextlib
import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.end_to_end.conftest import relabel, segment, whole

from sepvox import markers, ome_zarr
from sepvox.blocks import Lattice, Part
from sepvox.config import load
from sepvox.errors import ConfigError, SepvoxError, StaleError, StoreError
from sepvox.layout import Layout
from sepvox.ome_zarr import Spec
from sepvox.prepare.prepare import prepare
from sepvox.score.choose import choose
from sepvox.score.score import score_chosen, score_sweep
from sepvox.segment import agglomerate as agglomerate_step
from sepvox.segment import fragments, region_graph
from sepvox.segment import relabel as relabel_step
from sepvox.segment.watershed import waterz_thresholds
from sepvox.train.targets import affinities
from sepvox.world import Geometry

SHAPE, CHUNK, SHARD = (24, 32, 40), (8, 8, 8), (16, 16, 16)
OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (-3, 0, 0))


def configured(folder: Path, **segment_settings):
    """An experiment of one validation volume, with its results in `folder`."""
    document = {
        "experiment": "small",
        "volumes": {"v": {"role": "validate", "image": "image.npy", "labels": "labels.npy"}},
        "prepare": {"chunk": list(CHUNK), "shard": list(SHARD)},
        "network": {"weights": "given/best.safetensors"},
        "segment": {
            "fragments": {"cell": [16, 16, 16], "halo": [4, 4, 4], "seed_distance": 2, "minimum_size": 5},
            "agglomerate": {"cell": [32, 32, 32], "context": 8, "thresholds": [0.2, 0.5, 0.8]},
        },
    }
    for path, value in segment_settings.items():
        section, _, key = path.rpartition("__")
        (document["segment"][section] if section else document["segment"])[key] = value
    (folder / "experiment.yaml").write_text(yaml.safe_dump(document))
    return load(folder / "experiment.yaml")


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A folder with every output, from noisy affinities of known objects with one long-range channel."""
    folder = tmp_path_factory.mktemp("lineage")
    rng = np.random.default_rng(0)
    z, y, x = (np.arange(n) // 9 for n in SHAPE)
    labels = (1 + z[:, None, None] * 25 + y[:, None] * 5 + x).astype(np.uint32)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "image.npy", rng.integers(0, 255, SHAPE, dtype=np.uint8))
    experiment, results = configured(folder), folder / "results"
    layout = Layout(results / "small")
    prepare(experiment, "v", results)
    exact = affinities(labels, OFFSETS)[0] * 180 + rng.integers(0, 75, (len(OFFSETS), *SHAPE))
    store = layout.affinities("main", "v")
    spec = Spec(SHAPE, "uint8", Geometry(), CHUNK, SHARD, channels=tuple("zyxl"))
    ome_zarr.create(store, spec)
    array = ome_zarr.open_level(store, writable=True)
    for box in Lattice(SHAPE, SHARD):
        ome_zarr.write(array, box, exact[:, *box.slices].astype(np.uint8))
    ome_zarr.finish(store, spec, {"offsets": [list(offset) for offset in OFFSETS], "fingerprint": "a"})
    segment(experiment, results, "v")
    to_scores(experiment, results)
    relabel(experiment, results, "v")
    return folder


def to_scores(experiment, results: Path) -> None:
    score_sweep(experiment, "main", "v", results)
    choose(experiment, "main", results)
    score_chosen(experiment, "main", "v", results)


@pytest.fixture
def run(whole_run, tmp_path):
    """A copy of the folder, its results, and their layout."""
    shutil.copytree(whole_run, tmp_path / "run")
    return tmp_path / "run", tmp_path / "run/results", Layout(tmp_path / "run/results/small")


def says(error: type[SepvoxError], *words: str):
    return pytest.raises(error, match="^[^\n]*" + "[^\n]*".join(words) + "[^\n]*$")


def test_old_tables_are_refused_with_new_fragments(run):
    folder, results, _layout = run
    changed = configured(folder, fragments__seed_distance=1)
    fragments.create(changed, "main", "v", results, restart=True)
    fragments.fragments_slice(changed, "main", "v", results, Part(0, 1))
    fragments.finish(changed, "main", "v", results)
    for step in (relabel, score_sweep_of, score_chosen_of):
        with says(StaleError, r"lookup_tables\.npz", "sepvox agglomerate"):
            step(changed, results, "v")
    segment(changed, results, "v")
    to_scores(changed, results)
    relabel(changed, results, "v")


def score_sweep_of(experiment, results, volume):
    score_sweep(experiment, "main", volume, results)


def score_chosen_of(experiment, results, volume):
    score_chosen(experiment, "main", volume, results)


@pytest.mark.parametrize(
    "change",
    [{"minimum_size": 30}, {"agglomerate__thresholds": [0.3, 0.5]}, {"agglomerate__scoring": "mean"}],
    ids=str,
)
def test_tables_of_other_settings_are_refused(run, change):
    folder, results, _ = run
    changed = configured(folder, **change)
    for step in (score_sweep_of, score_chosen_of):
        with says(StaleError, r"lookup_tables\.npz", "sepvox agglomerate"):
            step(changed, results, "v")
    with says(StaleError, r"sweep\.json", "sepvox score --sweep"):
        choose(changed, "main", results)


def test_an_old_sweep_is_refused_with_new_tables(run):
    folder, results, _layout = run
    changed = configured(folder, minimum_size=30)
    segment(changed, results, "v")
    for step in (lambda: choose(changed, "main", results), lambda: score_chosen(changed, "main", "v", results)):
        with says(StaleError, r"sweep\.json", "sepvox score --sweep"):
            step()
    to_scores(changed, results)


def test_old_counts_are_refused_with_a_new_sweep(run, tmp_path):
    folder, results, layout = run
    counts = layout.sweep("main", "v").with_name("contingency.npz")
    shutil.copy(counts, tmp_path / "old.npz")
    changed = configured(folder, fragments__seed_distance=1)
    segment(changed, results, "v")
    score_sweep(changed, "main", "v", results)
    shutil.copy(tmp_path / "old.npz", counts)
    with says(StaleError, r"contingency\.npz", "sepvox score --sweep"):
        score_chosen(changed, "main", "v", results)


def test_a_threshold_of_another_scoring_is_refused(run):
    folder, results, _ = run
    changed = configured(folder, agglomerate__scoring="mean")
    segment(changed, results, "v")
    score_sweep(changed, "main", "v", results)
    for step in (relabel, score_chosen_of):
        with says(StaleError, r"threshold\.json", "histogram-quantile50", "mean", "sepvox choose"):
            step(changed, results, "v")


def test_tables_need_no_affinities_once_they_are_made(run):
    folder, results, layout = run
    shutil.rmtree(layout.affinities("main", "v"))
    experiment = configured(folder)
    to_scores(experiment, results)
    relabel(experiment, results, "v")


def test_scores_keep_to_their_documented_keys(run):
    _, _, layout = run
    sweep = json.loads(layout.sweep("main", "v").read_text())
    assert set(sweep["made_from"]) == {"contingency", "lookup_tables"}
    scores = json.loads(layout.scores("main", "v").read_text())
    assert set(scores) == {"volume", "role", "thresholds", "chosen", "errors"}


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """With nearly half of its bytes changed, in all arrays but the last: a single one may be a date that nobody reads."""
    first, last = len(content) // 20, len(content) // 2
    return content[:first] + bytes(byte ^ 255 for byte in content[first:last]) + content[last:]


@pytest.mark.parametrize(
    "damage", [cut, flipped, lambda _: b"", lambda _: b"text"], ids=["cut", "flip", "empty", "text"]
)
def test_damaged_files_are_one_line_that_names_them(run, damage):
    folder, results, layout = run
    experiment = configured(folder)
    cell = next((layout.region_graph("main", "v") / "cells").iterdir())

    def relabel_again() -> None:
        shutil.rmtree(layout.segmentation("main", "v"), ignore_errors=True)
        relabel(experiment, results, "v")

    cases = [
        (cell, "sepvox region-graph", lambda: agglomerate_of(experiment, results)),
        (layout.lookup_tables("main", "v"), "sepvox agglomerate", relabel_again),
        (
            layout.sweep("main", "v").with_name("contingency.npz"),
            "sepvox score --sweep",
            lambda: score_chosen(experiment, "main", "v", results),
        ),
    ]
    for path, mend, step in cases:
        before = path.read_bytes()
        path.write_bytes(damage(before))
        with says(StoreError, path.name.replace(".", r"\."), "damaged", mend):
            step()
        path.write_bytes(before)
        step()


def agglomerate_of(experiment, results):
    from sepvox.segment.agglomerate import agglomerate

    agglomerate(experiment, "main", "v", results)


def test_fragments_made_anew_while_they_are_agglomerated_are_noticed(run, monkeypatch):
    folder, results, layout = run
    before = layout.lookup_tables("main", "v").read_bytes()
    changed = configured(folder, fragments__seed_distance=1)
    reduce = agglomerate_step.lookup_tables

    def meanwhile(*arguments):
        fragments.create(changed, "main", "v", results, restart=True)
        fragments.fragments_slice(changed, "main", "v", results, Part(0, 1))
        fragments.finish(changed, "main", "v", results)
        return reduce(*arguments)

    monkeypatch.setattr(agglomerate_step, "lookup_tables", meanwhile)
    with says(StoreError, r"fragments\.zarr: made anew meanwhile; run `sepvox agglomerate` again"):
        agglomerate_of(configured(folder), results)
    assert layout.lookup_tables("main", "v").read_bytes() == before


def masked(folder: Path, size: int, **settings):
    """The experiment with a mask of the first `size` planes, prepared anew."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[:size] = 1
    np.save(folder / "mask.npy", mask)
    experiment = configured(folder, **settings)
    document = yaml.safe_load((folder / "experiment.yaml").read_text())
    document["volumes"]["v"]["mask"] = "mask.npy"
    (folder / "experiment.yaml").write_text(yaml.safe_dump(document))
    experiment = load(folder / "experiment.yaml")
    prepare(experiment, "v", folder / "results", restart=True)
    return experiment


def test_fragments_of_another_mask_are_stale_and_a_lost_mask_is_missed(run):
    folder, results, layout = run
    first = masked(folder, 9)
    fragments.create(first, "main", "v", results, restart=True)
    fragments.fragments_slice(first, "main", "v", results, Part(0, 1))
    fragments.finish(first, "main", "v", results)
    assert not whole(layout.fragments("main", "v"))[9:].any()
    other = masked(folder, 14)
    with says(StoreError, "fragments was not created with these settings"):
        fragments.fragments_slice(other, "main", "v", results, Part(0, 1))
    shutil.rmtree(layout.mask("v"))
    with says(StoreError, r"mask\.zarr: missing"):
        fragments.create(other, "main", "v", results, restart=True)


@pytest.mark.parametrize("by_section", [False, True])
def test_thresholds_of_waterz_are_those_of_the_affinities_in_the_mask(run, by_section):
    folder, results, layout = run
    experiment = masked(folder, 9, fragments__method="waterz", fragments__by_section=by_section)
    fragments.create(experiment, "main", "v", results, restart=True)
    seen = whole(layout.affinities("main", "v"))[1 if by_section else 0 : 3, :9]
    low, high = waterz_thresholds(np.bincount(seen.ravel(), minlength=256))
    found = json.loads((layout.blocks("fragments", "main", "v") / "thresholds.json").read_text())
    assert (found["low"], found["high"]) == (low, high)


def test_every_flipped_byte_of_a_table_is_found_or_changes_nothing(run):
    _, _, layout = run
    path = layout.lookup_tables("main", "v")
    before, rng = path.read_bytes(), np.random.default_rng(0)
    names = ("fragments", "sizes", "thresholds", "table_0", "table_1", "fingerprint")
    expected = markers.read_arrays(path, "it", *names)
    for place in rng.choice(len(before), 300, replace=False):
        content = bytearray(before)
        content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(content))
        with contextlib.suppress(StoreError):
            found = markers.read_arrays(path, "it", *names)
            assert all(np.array_equal(found[name], expected[name]) for name in names), place


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ('{"threshold": 0.5, "chosen_on": "v"}', "scoring"),
        ('{"scoring": "mean", "chosen_on": "v"}', "threshold"),
        ('{"threshold": 3, "scoring": "mean", "chosen_on": "v"}', "threshold is 3"),
        ('{"threshold": "low", "scoring": "mean", "chosen_on": "v"}', "threshold is 'low'"),
        ("[0.5]", "threshold"),
        ('{"thresh', "not valid JSON"),
    ],
)
def test_a_damaged_threshold_is_one_line_whether_given_or_chosen(run, content, word):
    folder, results, layout = run
    experiment = configured(folder)
    layout.threshold("main").write_text(content)
    for step in (relabel, score_chosen_of):
        with says(StoreError, r"models/main/threshold\.json", word, "sepvox choose"):
            step(experiment, results, "v")
    (folder / "given").mkdir()
    (folder / "given/threshold.json").write_text(content)
    for step in (lambda: choose(experiment, "main", results), lambda: agglomerate_of(experiment, results)):
        with says(StoreError, r"given/threshold\.json", word, "segment.threshold"):
            step()


def test_what_was_not_chosen_or_swept_yet_names_the_step_to_run_first(run):
    folder, results, layout = run
    layout.threshold("main").unlink()
    for step in (relabel, score_chosen_of):
        with says(StoreError, r"models/main/threshold\.json: missing; run `sepvox choose` first"):
            step(configured(folder), results, "v")
    layout.sweep("main", "v").unlink()
    with says(StoreError, r"sweep\.json: missing; run `sepvox score --sweep` first"):
        choose(configured(folder), "main", results)


def test_a_given_threshold_of_another_scoring_is_refused(run):
    folder, results, _ = run
    (folder / "given").mkdir()
    (folder / "given/threshold.json").write_text('{"threshold": 0.5, "scoring": "mean", "chosen_on": "v"}')
    with says(ConfigError, "mean", "histogram-quantile50"):
        choose(configured(folder), "main", results)


def test_segmentation_reads_no_long_range_channel(run):
    folder, results, layout = run
    experiment = configured(folder)
    expected = whole(layout.fragments("main", "v"))
    damage_channel(layout.affinities("main", "v"), 3)
    with says(StoreError, "affinities", "damaged"):
        whole(layout.affinities("main", "v"))
    for name in ("fragments", "region-graph"):
        shutil.rmtree(layout.step(name))
    shutil.rmtree(layout.fragments("main", "v"))
    segment(experiment, results, "v")
    assert (whole(layout.fragments("main", "v")) == expected).all()
    waterz = configured(folder, fragments__method="waterz")
    fragments.create(waterz, "main", "v", results, restart=True)


def damage_channel(store: Path, channel: int) -> None:
    """Flip a byte in every chunk of one channel; a shard ends with the places of its chunks and four bytes of checksum."""
    inside = np.prod([s // c for s, c in zip(SHARD, CHUNK, strict=True)])
    for shard in (path for path in (store / "0/c").rglob("*") if path.is_file()):
        content = bytearray(shard.read_bytes())
        index = np.frombuffer(bytes(content[-4 - len(OFFSETS) * inside * 16 : -4]), "<u8").reshape(len(OFFSETS), -1, 2)
        for begin, size in index[channel]:
            if size < 2**63:
                content[int(begin + size // 2)] ^= 255
        shard.write_bytes(bytes(content))


class _Recording(ThreadPoolExecutor):
    """What would be sent to another process with each block."""

    def __init__(self) -> None:
        super().__init__(1)
        self.sent: list[bytes] = []

    def submit(self, work, /, *arguments, **more):
        self.sent.append(pickle.dumps((work, arguments)))
        return super().submit(work, *arguments, **more)


def test_relabel_does_not_send_its_table_with_each_block(run, monkeypatch):
    folder, results, layout = run
    executors: list[_Recording] = []

    def processes(_):
        executors.append(_Recording())
        return executors[-1]

    monkeypatch.setattr(relabel_step, "processes", processes)
    shutil.rmtree(layout.segmentation("main", "v"))
    relabel(configured(folder), results, "v")
    table = np.load(layout.lookup_tables("main", "v"))["fragments"].tobytes()
    assert len(executors[0].sent) == len(Lattice(SHAPE, SHARD))
    assert not any(table in sent for executor in executors for sent in executor.sent)


def test_cells_of_the_region_graph_that_were_removed_are_made_again(run):
    folder, results, layout = run
    cell = next((layout.region_graph("main", "v") / "cells").iterdir())
    before = cell.read_bytes()
    cell.unlink()
    region_graph.region_graph_slice(configured(folder), "main", "v", results, Part(0, 1))
    assert cell.read_bytes() == before
