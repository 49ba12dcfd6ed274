"""Each class of Video-MNIST moves as the paper's Table 1 says, and every clip depends on its digit, class and seed alone."""

import numpy as np
import pytest

from sepvox.errors import InputError
from sepvox.studies.video_mnist.clips import SPLITS, clip, clip_seed
from sepvox.studies.video_mnist.subsets import balanced

SEEDS = range(40)


def picture(*boxes) -> np.ndarray:
    """A digit's picture with bright boxes (y, y, x, x)."""
    image = np.zeros((28, 28), np.uint8)
    for y, yy, x, xx in boxes:
        image[y:yy, x:xx] = 255
    return image


CENTRE = picture((13, 15, 13, 15))
RIGHT = picture((12, 16, 22, 26))
ODD = picture((6, 22, 9, 12), (6, 9, 9, 19), (12, 15, 9, 16))


def positions(frames: np.ndarray) -> np.ndarray:
    """Centre of brightness per frame, (t, 2), down and right of the frame's centre."""
    weights = frames.astype(float)
    axes = np.arange(28) - 13.5
    total = weights.sum((1, 2))
    return np.stack([weights.sum(2) @ axes / total, weights.sum(1) @ axes / total], axis=1)


def angles(frames: np.ndarray) -> np.ndarray:
    """Direction of the centre of brightness per frame, in degrees counter-clockwise from the right, as seen."""
    down, right = positions(frames).T
    return np.degrees(np.arctan2(-down, right))


def turns(frames: np.ndarray) -> np.ndarray:
    """Change of direction from frame to frame, in degrees from -180 to 180."""
    return (np.diff(angles(frames)) + 180) % 360 - 180


def moved(frame: np.ndarray, down: int, right: int) -> np.ndarray:
    """A frame whose content is shifted; what leaves it is lost."""
    wide = np.pad(frame, 28)
    return wide[28 - down : 56 - down, 28 - right : 56 - right]


@pytest.mark.parametrize("label", range(10))
def test_clip_is_thirty_frames_with_the_digit_in_all(label):
    frames = clip(ODD, label, 0)
    assert frames.shape == (30, 28, 28)
    assert frames.dtype == np.uint8
    assert frames.any(axis=(1, 2)).all()


@pytest.mark.parametrize(("label", "axis"), [(0, 1), (1, 0), (7, 1)])
def test_digit_runs_along_one_axis_and_turns_faster_at_the_borders(label, axis):
    begins = set()
    for seed in SEEDS:
        track = positions(clip(CENTRE, label, seed)).round().astype(int)
        assert not track[:, 1 - axis].any()
        along = track[:, axis]
        assert along[0] == 0
        steps = np.diff(along)
        begins.add(int(steps[0]))
        for at, before, after in zip(along[1:-1], steps[:-1], steps[1:], strict=True):
            beyond = abs(at + before) > 13
            assert after == (-(before + np.sign(before)) if beyond else before)
        assert abs(along).max() <= 13
        assert (np.diff(np.sign(steps)) != 0).any(), "never reversed"
    assert begins == {-2, -1, 1, 2}


def test_two_shrinks_for_fifteen_frames_and_then_grows():
    full = np.full((28, 28), 255, np.uint8)
    frames = clip(full, 2, 0)
    lit = (frames > 0).sum(axis=(1, 2))
    assert np.sqrt(lit[:15]).tolist() == [*range(28, 0, -2), 1]
    assert np.sqrt(lit[15:]).tolist() == [*range(2, 28, 2), 28, 28]
    even = [*range(14), *range(15, 30)]
    assert np.abs(positions(frames[even])).max() < 0.01, "not about the centre"
    np.testing.assert_array_equal(frames[0], full)


@pytest.mark.parametrize(("label", "step"), [(3, -12), (4, 12)])
def test_three_and_four_turn_twelve_degrees_per_frame_in_opposite_senses(label, step):
    frames = clip(RIGHT, label, 0)
    assert np.abs(turns(frames) - step).max() < 2
    np.testing.assert_array_equal(frames[0], RIGHT)
    np.testing.assert_array_equal(clip(ODD, 3, 0)[1:], clip(ODD, 4, 0)[:0:-1])


def test_five_goes_round_a_circle_of_four_to_twelve_pixels_in_either_sense():
    radii, senses = set(), set()
    for seed in range(120):
        frames = clip(CENTRE, 5, seed)
        distance = np.hypot(*positions(frames).T)
        radius = round(distance.mean())
        assert np.abs(distance - radius).max() < 0.75
        steps = turns(frames)
        assert (np.sign(steps) == np.sign(steps[0])).all(), "turned back"
        assert abs(abs(steps.mean()) - (720 - np.degrees(12))) < 1
        radii.add(radius)
        senses.add(float(np.sign(steps[0])))
    assert radii == set(range(4, 13))
    assert senses == {-1.0, 1.0}


def test_six_grows_by_two_pixels_per_frame_and_turns_clockwise():
    frames = clip(picture((12, 16, 16, 20)), 6, 0)[8:]
    distance = np.hypot(*positions(frames).T)
    assert np.abs(distance - 4 * 2 * np.arange(8, 30) / 28).max() < 0.1
    assert np.abs(turns(frames) + 12).max() < 4
    lit = (clip(np.full((28, 28), 255, np.uint8), 6, 0) > 0).sum(axis=(1, 2))
    assert lit[0] == 1
    assert (np.diff(lit[:15]) > 0).all()


def test_seven_is_four_moved_along_a_row():
    turning = clip(ODD, 4, 0)
    for seed in SEEDS:
        track = positions(clip(CENTRE, 7, seed)).round().astype(int)
        for frame, turned, (down, right) in zip(clip(ODD, 7, seed), turning, track, strict=True):
            np.testing.assert_array_equal(frame, moved(turned, down, right))


def test_eight_turns_clockwise_until_upright_and_goes_back_over_the_same_frames():
    frames = clip(ODD, 8, 0)
    np.testing.assert_array_equal(frames[0], ODD)
    np.testing.assert_array_equal(frames[15], ODD)
    np.testing.assert_array_equal(frames[15:], frames[15:0:-1])
    steps = turns(clip(RIGHT, 8, 0))
    assert np.abs(steps[:15] + 24).max() < 2
    assert np.abs(steps[15:] - 24).max() < 2


def test_nine_walks_and_turns_at_random_by_one_step_per_frame():
    turning = clip(ODD, 4, 0)
    walks, rotations = set(), set()
    for seed in SEEDS:
        track = positions(clip(CENTRE, 9, seed)).round().astype(int)
        frames = clip(ODD, 9, seed)
        np.testing.assert_array_equal(frames[0], ODD)
        turned = 0
        for frame, before, after in zip(frames[1:], track[:-1], track[1:], strict=True):
            walks.add(tuple((after - before).tolist()))
            (step,) = (
                step for step in (-1, 0, 1) if np.array_equal(frame, moved(turning[(turned + step) % 30], *after))
            )
            rotations.add(step)
            turned += step
    assert walks == {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert rotations == {-1, 0, 1}


def test_clip_depends_on_its_seed_alone():
    again = clip(ODD, 9, clip_seed(3, "train", 7))
    clip(ODD, 0, 1)
    np.testing.assert_array_equal(clip(ODD, 9, clip_seed(3, "train", 7)), again)


def test_no_two_digits_share_a_seed():
    seeds = [clip_seed(seed, split, index) for seed in (0, 1) for split in SPLITS for index in range(4)]
    clips = {clip(ODD, 9, seed).tobytes() for seed in [*seeds, 0, 1]}
    assert len(clips) == len(seeds) + 2


def test_balanced_subset_has_as_many_of_each_class_and_smaller_ones_begin_it():
    labels = np.random.default_rng(0).choice(10, 3000, p=np.arange(1, 11) / 55).astype(np.uint8)
    largest = balanced(labels, 300, seed=5)
    assert np.bincount(labels[largest]).tolist() == [30] * 10
    assert len(set(largest.tolist())) == 300
    for count in (10, 37, 100):
        chosen = balanced(labels, count, seed=5)
        np.testing.assert_array_equal(chosen, largest[:count])
        sizes = np.bincount(labels[chosen], minlength=10)
        assert sizes.max() - sizes.min() <= 1
    assert not np.array_equal(balanced(labels, 300, seed=6), largest)


def test_subset_of_more_than_a_class_has_is_refused():
    labels = np.repeat(np.arange(10), [3, *[20] * 9]).astype(np.uint8)
    assert len(balanced(labels, 30, seed=0)) == 30
    with pytest.raises(InputError, match="only 3 of class 0 among 183; ask for at most 30"):
        balanced(labels, 60, seed=0)
    with pytest.raises(InputError, match="1000 videos were asked for"):
        balanced(labels, 1000, seed=0)
