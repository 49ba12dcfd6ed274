"""Scores of class maps."""

import json

import numpy as np
import pytest
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from sepvox.errors import ConfigError, InputError
from sepvox.score.class_metrics import SCORES, class_scores

UNIT = (1.0, 1.0, 1.0)


def blob(seed: int, shape: tuple[int, int, int], share: float = 0.3) -> NDArray[np.bool_]:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5)
    return field > np.quantile(field, 1 - share)


def surface(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Voxels of the mask with a face neighbour outside, by asking each neighbour of each voxel."""
    padded = np.pad(mask, 1)
    steps = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    return np.array([p for p in np.argwhere(mask) if not all(padded[tuple(p + 1 + step)] for step in steps)])


def brute_force(predicted: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: tuple[float, float, float]):
    between = cdist(surface(predicted) * spacing, surface(truth) * spacing)
    there, back = between.min(axis=1), between.min(axis=0)
    return {
        "dice": 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()),
        "hd95_mm": max(np.percentile(there, 95), np.percentile(back, 95)),
        "assd_mm": (there.sum() + back.sum()) / (len(there) + len(back)),
        "volume_mm3": predicted.sum() * np.prod(spacing),
        "true_volume_mm3": truth.sum() * np.prod(spacing),
        "volume_difference_mm3": (int(predicted.sum()) - int(truth.sum())) * np.prod(spacing),
        "volume_difference_percent": 100 * (predicted.sum() / truth.sum() - 1),
        "sensitivity": truth[predicted].sum() / truth.sum(),
        "precision": truth[predicted].sum() / predicted.sum(),
    }


def test_two_shifted_bars_score_as_worked_by_hand() -> None:
    truth = np.zeros((3, 4, 12), np.uint8)
    truth[1, 2, 1:5] = 1
    predicted = np.zeros_like(truth)
    predicted[1, 2, 3:9] = 1
    found = class_scores(predicted, truth, {"bar": 1}, (3.0, 2.0, 0.5))
    assert found["classes"]["bar"] == pytest.approx(
        {
            "dice": 2 * 2 / (6 + 4),
            # Predicted to true: 0 0 .5 1 1.5 2; true to predicted: 1 .5 0 0; the 95th percentile of six values lies
            # at 4.75 steps, and of four at 2.85.
            "hd95_mm": 1.5 + 0.75 * 0.5,
            "assd_mm": 6.5 / 10,
            "volume_mm3": 18.0,
            "true_volume_mm3": 12.0,
            "volume_difference_mm3": 6.0,
            "volume_difference_percent": 50.0,
            "sensitivity": 0.5,
            "precision": 1 / 3,
        }
    )
    assert tuple(found["classes"]["bar"]) == tuple(found["mean"]) == SCORES


def test_distances_are_between_surfaces_and_not_between_volumes() -> None:
    truth = np.ones((9, 9, 9), np.uint8)
    predicted = np.zeros_like(truth)
    predicted[4, 4, 4] = 1
    found = class_scores(predicted, truth, {"box": 1}, UNIT)["classes"]["box"]
    rim = [np.hypot(np.hypot(z - 4, y - 4), x - 4) for z, y, x in np.ndindex(9, 9, 9) if {0, 8} & {z, y, x}]
    assert found["assd_mm"] == pytest.approx((4 + sum(rim)) / (1 + len(rim)))
    assert found["hd95_mm"] == pytest.approx(np.percentile(rim, 95))


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_a_brute_force_computation_on_anisotropic_grids(seed: int) -> None:
    spacing = tuple(np.random.default_rng(seed).uniform(0.4, 4, 3).tolist())
    predicted, truth = blob(seed, (8, 11, 9)), blob(seed + 100, (8, 11, 9), 0.15)
    found = class_scores(predicted.astype(np.int16) * 3, truth.astype(np.uint8) * 3, {"blob": 3}, spacing)
    assert found["classes"]["blob"] == pytest.approx(brute_force(predicted, truth, spacing), rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_distances_equal_those_of_monai_on_the_whole_volume() -> None:
    spacing = (2.0, 0.7, 1.1)
    masks = [np.pad(blob(seed, (10, 12, 14)), ((3, 0), (0, 5), (2, 2))) for seed in (1, 2)]
    found = class_scores(*(mask.astype(np.uint8) for mask in masks), {"blob": 1}, spacing)["classes"]["blob"]
    batches = [mask[None, None] for mask in masks]
    kept = {"include_background": True, "spacing": spacing}
    assert found["hd95_mm"] == pytest.approx(compute_hausdorff_distance(*batches, percentile=95, **kept).item())
    assert found["assd_mm"] == pytest.approx(compute_average_surface_distance(*batches, symmetric=True, **kept).item())


def test_each_class_is_scored_alone_and_the_mean_is_over_classes() -> None:
    classes = {"high": 2_000_000_000, "low": 2, "middle": 7}
    values = np.array([0, *classes.values()])
    rng = np.random.default_rng(5)
    truth = values[rng.integers(0, 4, (6, 7, 8))]
    predicted = np.where(rng.random(truth.shape) < 0.3, values[rng.integers(0, 4, truth.shape)], truth)
    found = class_scores(predicted, truth, classes, (1.0, 2.0, 3.0))
    assert list(found["classes"]) == list(classes)
    for name, value in classes.items():
        expected = brute_force(predicted == value, truth == value, (1.0, 2.0, 3.0))
        assert found["classes"][name] == pytest.approx(expected, rel=1e-6)
    for key in SCORES:
        assert found["mean"][key] == pytest.approx(np.mean([scores[key] for scores in found["classes"].values()]))


def test_identical_maps_are_perfect() -> None:
    truth = blob(3, (9, 9, 9)).astype(np.uint8)
    found = class_scores(truth, truth.copy(), {"blob": 1}, (2.0, 1.0, 1.0))
    scores = found["classes"]["blob"]
    assert (scores["dice"], scores["hd95_mm"], scores["assd_mm"]) == (1, 0, 0)
    assert (scores["volume_difference_mm3"], scores["sensitivity"], scores["precision"]) == (0, 1, 1)
    assert (found["voi_split"], found["voi_merge"], found["voi_sum"]) == (0, 0, 0)


def test_empty_classes_score_as_the_table_says_and_leave_means_of_the_others() -> None:
    truth = np.zeros((4, 5, 6), np.uint8)
    predicted = np.zeros_like(truth)
    truth[0, 0, :4], predicted[0, 0, 1:5] = 1, 1
    truth[2, 2, :3] = 2
    predicted[3, 3, :2] = 3
    classes = {"both": 1, "missed": 2, "invented": 3, "absent": 4}
    found = class_scores(predicted, truth, classes, UNIT)
    ratios = ("dice", "hd95_mm", "assd_mm", "sensitivity", "precision", "volume_difference_percent")
    assert [found["classes"]["missed"][key] for key in ratios] == [0, None, None, 0, None, -100]
    assert [found["classes"]["invented"][key] for key in ratios] == [0, None, None, None, 0, None]
    assert [found["classes"]["absent"][key] for key in ratios] == [None] * 6
    volumes = ("volume_mm3", "true_volume_mm3", "volume_difference_mm3")
    assert [found["classes"]["missed"][key] for key in volumes] == [0, 3, -3]
    assert [found["classes"]["invented"][key] for key in volumes] == [2, 0, 2]
    assert [found["classes"]["absent"][key] for key in volumes] == [0, 0, 0]
    both = found["classes"]["both"]
    assert found["mean"]["dice"] == pytest.approx(both["dice"] / 3)
    assert found["mean"]["hd95_mm"] == both["hd95_mm"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_subject_without_any_class_has_no_mean() -> None:
    empty = np.zeros((2, 3, 4), np.uint8)
    found = class_scores(empty, empty, {"brain": 1}, UNIT)
    assert found["mean"]["dice"] is None
    assert found["mean"]["volume_mm3"] == 0
    assert found["voi_sum"] == 0


def test_variation_of_information_counts_background_as_a_class() -> None:
    truth = np.zeros((2, 2, 4), np.uint8)
    truth[..., 2:] = 255
    alike = np.full_like(truth, 255)
    merged = class_scores(alike, truth, {"half": 255}, UNIT)
    assert (merged["voi_split"], merged["voi_merge"], merged["voi_sum"]) == (0, 1, 1)
    split = class_scores(truth, alike, {"half": 255}, UNIT)
    assert (split["voi_split"], split["voi_merge"], split["voi_sum"]) == (1, 0, 1)


@pytest.mark.parametrize("value", [-1, 2, 256, 257])
@pytest.mark.parametrize("name", ["prediction", "ground truth"])
def test_value_outside_the_classes_is_refused(value: int, name: str) -> None:
    maps = {"prediction": np.ones((2, 3, 4), np.int32), "ground truth": np.ones((2, 3, 4), np.int32)}
    maps[name][1, 1, :2] = value
    with pytest.raises(InputError, match=rf"^{name}: value {value} in 2 voxels is no class \(0 background, 1 brain\)"):
        class_scores(*maps.values(), {"brain": 1}, UNIT)


@pytest.mark.parametrize(
    ("predicted", "truth", "spacing", "match"),
    [
        (np.zeros((2, 3, 4), np.uint8), np.zeros((2, 4, 3), np.uint8), UNIT, r"\(2, 4, 3\).*\(2, 3, 4\)"),
        (np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 4), np.uint8), UNIT, "prediction: values of type float32"),
        (np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3), np.uint8), UNIT, r"ground truth: shape \(2, 3\)"),
        (np.zeros((2, 0, 4), np.uint8), np.zeros((2, 0, 4), np.uint8), UNIT, r"prediction: shape \(2, 0, 4\)"),
        (np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), np.uint8), (1.0, 0.0, 1.0), "spacing"),
        (np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), np.uint8), (1.0, float("nan"), 1.0), "spacing"),
    ],
)
def test_unfit_maps_are_refused_in_one_line(predicted, truth, spacing, match) -> None:
    with pytest.raises(InputError, match=match) as refused:
        class_scores(predicted, truth, {"brain": 1}, spacing)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("classes", "match"),
    [({}, "none"), ({"a": 0}, "classes.a: value 0"), ({"a": 3, "b": 3}, "classes.b: value 3 is also that of a")],
)
def test_unfit_classes_are_refused(classes: dict[str, int], match: str) -> None:
    empty = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(ConfigError, match=match):
        class_scores(empty, empty, classes, UNIT)


def test_inputs_are_not_changed() -> None:
    predicted, truth = (blob(seed, (6, 6, 6)).astype(np.uint8) for seed in (8, 9))
    copies = predicted.copy(), truth.copy()
    class_scores(predicted, truth, {"blob": 1}, UNIT)
    assert np.array_equal(predicted, copies[0])
    assert np.array_equal(truth, copies[1])
