"""The scaling benchmark: its volumes, what it counts, and what it makes of the figures."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from benchmarks.scale import make, tables, volume
from benchmarks.scale.__main__ import BEGIN, END, quickest, replaced
from benchmarks.scale.experiment import CONFIG, LAYOUT, MODEL, TILE, VOLUME, Trial, files, stores
from benchmarks.scale.measure import FailedError, cost, held
from benchmarks.scale.plan import Rate, exponent, files_of, hours, rates
from benchmarks.scale.volume import Tile
from bioimage_cpp.segmentation import label
from scipy.ndimage import distance_transform_edt
from tests.end_to_end.conftest import relabel, segment

from sepvox import markers, ome_zarr
from sepvox.blocks import Box, Lattice, Part
from sepvox.config import load
from sepvox.prepare.prepare import prepare
from sepvox.score.choose import choose
from sepvox.score.score import score_chosen, score_sweep
from sepvox.segment import fragments, region_graph

ROOT = Path(__file__).parents[2]


def cells(edge: int, objects: int, seed: int = 0):
    """A cube of labels: every voxel belongs to the nearest of random points."""
    points = np.zeros((edge,) * 3, np.int64)
    rng = np.random.default_rng(seed)
    points[tuple(rng.integers(0, edge, (3, objects)))] = np.arange(1, objects + 1)
    nearest = distance_transform_edt(points == 0, return_distances=False, return_indices=True)
    return points[tuple(nearest)]


@pytest.fixture(scope="module")
def tile():
    return Tile.of(cells(20, 40))


def test_objects_go_on_through_the_faces_of_tiles_and_are_connected(tile):
    found = volume.labels(tile, Box.of((60, 60, 60)))
    for face in (20, 40):
        for axis in range(3):
            assert (found.take(face - 1, axis) == found.take(face, axis)).all()
    ids, sizes = np.unique(found, return_counts=True)
    assert label(found, connectivity=1).max() == len(ids)
    assert len(ids) > 3 * len(tile.touches)
    assert sizes.max() > 4 * np.bincount(tile.labels.ravel()).max()


def test_boxes_of_the_volume_agree_to_the_byte(tile):
    whole, box = Box.of((44, 30, 50)), Box((17, 3, 19), (43, 27, 41))
    assert (volume.labels(tile, whole)[box.slices] == volume.labels(tile, box)).all()
    assert (volume.image(tile, whole, 1)[box.slices] == volume.image(tile, box, 1)).all()
    inner = volume.affinities(tile, whole, 1.0, 1)[:, *box.slices]
    assert (inner == volume.affinities(tile, box, 1.0, 1)).all()


def test_affinities_tell_objects_apart_and_tiles_have_noise_of_their_own(tile):
    box = Box.of((40, 40, 40))
    truth = volume.labels(tile, box)
    clean, spoilt = (volume.affinities(tile, box, strength, 0) for strength in (0.0, 2.0))
    apart = truth[1:] != truth[:-1]
    assert clean[0, 1:][apart].mean() < 80
    assert clean[0, 1:][~apart].mean() > clean[0, 1:][apart].mean() + 60
    assert spoilt[0, 1:][apart].std() > 1.3 * clean[0, 1:][apart].std()
    # But for grain the second tile is the first one mirrored, with the affinity of a pair stored at its other voxel.
    differences = [np.abs(a[0, 21:40][::-1].astype(int) - a[0, 1:20]).mean() for a in (clean, spoilt)]
    assert differences[1] > 2 * differences[0]


def laid_out(folder, tile, trial):
    """A trial whose affinities are made."""
    trial.write(folder)
    markers.write_arrays(folder / TILE, **vars(tile), strength=1.0)
    layout = (trial.shape, trial.shard, trial.chunk, 1, 0)
    make.make_source(folder, *layout)
    make.make_affinities(folder, *layout)
    return load(folder / CONFIG), folder / "results"


def test_the_path_leaves_as_many_files_as_the_formula_says(tmp_path, tile):
    trial = Trial(edge=40, block=16, cell=32, processes=1)
    experiment, results = laid_out(tmp_path, tile, trial)
    prepare(experiment, VOLUME, results)
    segment(experiment, results, VOLUME)
    score_sweep(experiment, MODEL, VOLUME, results)
    choose(experiment, MODEL, results)
    relabel(experiment, results, VOLUME)
    score_chosen(experiment, MODEL, VOLUME, results)
    found = {name: held(tmp_path / path) for name, path in stores().items()}
    assert {name: each.files for name, each in found.items()} == files(trial)
    assert found["all"].bytes > sum(each.bytes for name, each in found.items() if name != "all") * 0.99


@pytest.mark.slow
def test_a_larger_volume_costs_less_than_a_byte_of_memory_per_voxel_more(tmp_path, tile):
    peaks: dict[str, list[int]] = {"fragments": [], "region graph": []}
    # The smaller one has a block among others: at the faces of a volume there is no halo.
    for edge in (96, 128):
        folder = tmp_path / str(edge)
        experiment, results = laid_out(folder, tile, Trial(edge=edge, block=32, cell=32, processes=1))
        fragments.create(experiment, MODEL, VOLUME, results, restart=False)
        steps = {"fragments": fragments.fragments_slice, "region graph": region_graph.region_graph_slice}
        for name, step in steps.items():
            tracemalloc.start()
            step(experiment, MODEL, VOLUME, results, Part(0, 1))
            peaks[name].append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            if name == "fragments":
                fragments.finish(experiment, MODEL, VOLUME, results)
    for small, large in peaks.values():
        assert small > 32**3 * 8
        # A job keeps a few kilobytes for each of its blocks, and nothing for each voxel.
        assert large - small < 128**3 - 96**3


def test_hours_of_a_plan_are_divided_by_the_cores_that_a_step_has():
    found = [Rate(step, 3600e-9, 0, 0) for step in ("fragments", "prepare", "agglomerate")]
    assert hours(found, 64e9, cluster=1000, machine=64) == pytest.approx(
        {"cluster": 0.064, "machine": 1, "process": 64}
    )


def test_files_of_a_plan_fall_with_the_block():
    counts = [files_of(1e12, block) for block in (128, 256, 512)]
    assert counts[0] > 6 * counts[1] > 36 * counts[2]


ALLOCATES = """
import multiprocessing, sys
def hold(size):
    return len(bytearray(size))
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.map(hold, [int(sys.argv[1])])
        pool.close()
        pool.join()
"""


def test_the_peak_is_that_of_the_largest_process_and_a_failure_is_one_line(tmp_path):
    program = tmp_path / "allocates.py"
    program.write_text(ALLOCATES)
    # This process is large, and what it starts begins with its size: measure from a small one.
    measured = "import sys; from pathlib import Path; from benchmarks.scale.measure import cost; print(cost(sys.argv[1:], Path('.'), Path(sys.argv[2]).with_name('inner')).peak)"
    peaks = []
    for size in ("1000", "300000000"):
        log = tmp_path / "log"
        cost([sys.executable, "-c", measured, sys.executable, str(program), size], ROOT, log)
        peaks.append(int(log.read_text()))
    assert peaks[0] < 150e6 < 300e6 < peaks[1] < 400e6
    with pytest.raises(FailedError, match=r"status 1, .*ZeroDivisionError"):
        cost([sys.executable, "-c", "1 / 0"], tmp_path, tmp_path / "log")


def result(edge: int, start: float = 2.0):
    """Figures of a path whose cost is start-up and a part for every voxel."""
    voxels = edge**3
    steps = ("source", "affinities", "prepare", "fragments", "region-graph", "agglomerate", "score --sweep")
    steps += ("choose", "relabel", "score")
    spent = {
        step: {"seconds": start + 1e-7 * voxels, "processor": start + 2e-7 * voxels, "peak": int(3e8)} for step in steps
    }
    spent["source"]["processor"] = spent["affinities"]["processor"] = 1.0
    spent["agglomerate"]["peak"] += int(voxels / 2)
    trial = Trial(edge)
    counted = files(trial)
    part = {"box": [128] * 3, "parts": 8, "given": voxels // 100, "left": voxels // 400, "largest": 9}
    part |= {"largest_left": 5, "merges": 7, "seconds": 1.0}
    levels = [part, part | {"box": [256] * 3, "largest_left": 20}, part | {"parts": 1, "left": 0}]
    whole = {"digest": "a", "cost": spent["fragments"], "levels": levels[-1:], "difference": 0.0}
    return {
        "trial": vars(trial),
        "voxels": voxels,
        "steps": spent,
        "stores": {name: {"bytes": voxels, "files": count} for name, count in counted.items()},
        "files": counted,
        "voi": 0.4,
        "threshold": 0.5,
        "graph": {
            "fragments": voxels // 1000,
            "contacts": voxels // 100,
            "whole": whole,
            "parts": whole | {"levels": levels},
        },
    }


def test_exponent_and_rates_are_those_of_the_figures():
    assert exponent([1e6, 1e7, 1e8], [3.0, 30.0, 300.0]) == pytest.approx(1)
    assert exponent([10, 1000], [1, 1e4]) == pytest.approx(2)
    found = {rate.step: rate for rate in rates([result(512), result(1024)])}
    assert found["fragments"].seconds == pytest.approx(2e-7)
    assert found["fragments"].growing == 0
    assert found["agglomerate"].growing == pytest.approx(0.5, rel=1e-3)
    assert found["agglomerate"].fixed == pytest.approx(3e8, rel=1e-3)
    assert found["agglomerate"].largest(1e12) == pytest.approx(2e12, rel=0.01)
    # Cells of 256 are not whole in both of these.
    assert {rate.growing for rate in rates([result(128), result(256)])} == {0}


def test_of_several_measurements_the_least_times_and_the_highest_peaks_are_kept():
    runs = [result(512), result(512)]
    runs[0]["steps"]["fragments"] |= {"seconds": 9.0, "processor": 90.0, "peak": 5}
    runs[1]["steps"]["fragments"] |= {"seconds": 8.0, "processor": 95.0, "peak": 3}
    found = quickest(runs)
    assert found["steps"]["fragments"] == {"seconds": 8.0, "processor": 90.0, "peak": 5}
    assert found["steps"]["relabel"] == runs[1]["steps"]["relabel"]
    assert found["runs"] == 2


def test_a_broken_promise_fails_its_check():
    good = [result(64), result(256)]
    assert all(kept for _, kept in tables.checks(good))
    broken = {
        "VI": {"voi": 0.2},
        "largest process": {"steps": good[1]["steps"] | {"fragments": good[1]["steps"]["fragments"] | {"peak": 5e9}}},
        "formula": {"files": good[1]["files"] | {"image": 1}},
        "merges": {"graph": good[1]["graph"] | {"parts": {"digest": "b"}}},
    }
    for word, change in broken.items():
        failed = [name for name, kept in tables.checks([good[0], good[1] | change]) if not kept]
        assert failed
        assert any(word in name for name in failed), word


def test_a_peak_that_grows_with_the_volume_fails_where_blocks_are_surrounded():
    small, large = (result(edge) for edge in (96, 384))
    for trial in (small, large):
        trial["trial"] = trial["trial"] | {"block": 32}
    assert [kept for _, kept in tables.same_peaks([small, large])] == [True] * 3
    large["steps"]["fragments"]["peak"] *= 1.2
    failed = [name for name, kept in tables.same_peaks([small, large]) if not kept]
    assert len(failed) == 1
    assert "fragments" in failed[0]
    for trial in (small, large):
        trial["trial"] = trial["trial"] | {"block": 64}
    assert not tables.same_peaks([small, large])


def test_the_page_keeps_its_words_and_gets_new_tables():
    sizes = [result(512), result(1024)]
    graphs = [size["graph"] | {"name": "a graph"} for size in sizes]
    plan = tables.plan(sizes, graphs, 1000)
    assert "1 petavoxel" in plan
    assert "`agglomerate` is the first step that breaks" in plan
    page = f"# Scaling\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    again = replaced(replaced(page, "old"), plan)
    assert again.startswith("# Scaling\n\nbefore\n\n")
    assert again.endswith("\n\nafter\n")
    assert "\nold\n" not in again
    for text in (tables.times(sizes), tables.peaks(sizes), tables.held(sizes), tables.graphs(graphs)):
        widths = {line.count("|") for line in text.splitlines()}
        assert len(widths) == 1


def test_a_store_of_the_volume_is_read_as_it_was_written(tmp_path, tile):
    trial = Trial(edge=40, block=32, cell=32, processes=1)
    laid_out(tmp_path, tile, trial)
    array = ome_zarr.open_level(tmp_path / str(LAYOUT.affinities(MODEL, VOLUME)))
    expected = volume.affinities(tile, Box.of(trial.shape), 1.0, 0)
    for box in Lattice(trial.shape, trial.shard):
        assert (ome_zarr.read(array, box) == expected[:, *box.slices]).all()
