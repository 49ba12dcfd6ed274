"""The EM phantom cannot be segmented by grey values: the tuned intensity chain stays above 1.5 bits."""

import numpy as np
import pytest

from sepvox.errors import InputError
from sepvox.prepare.phantoms.em import em_phantom
from sepvox.prepare.settings import EMPhantomSettings
from sepvox.score.intensity import tune_intensity_chain


@pytest.mark.slow
def test_tuned_intensity_chain_stays_above_one_and_a_half_bits():
    settings = EMPhantomSettings(shape=(128, 128, 128))
    result = tune_intensity_chain(*em_phantom(settings, (0, 0, 0), settings.shape))
    assert result.voi_sum >= 1.5


def test_chain_segments_what_grey_values_do_show():
    labels = np.ones((32, 32, 32), np.uint32)
    labels[:, 16:] = 2
    labels[:, :, 16:] += 2
    image = np.full(labels.shape, 200, np.uint8)
    image[:, 14:18] = 20
    image[:, :, 14:18] = 20
    result = tune_intensity_chain(image, labels, sigmas=(1.0,), quantiles=(0.25,), merge_thresholds=(0.3, 0.5))
    assert result.voi_sum < 0.2


def test_chain_reports_split_and_merge_in_bits():
    rng = np.random.default_rng(0)
    image = np.full((16, 16, 16), 120, np.uint8)
    image += rng.integers(0, 4, image.shape, np.uint8)
    labels = np.repeat(np.arange(1, 5, dtype=np.uint32), 4)[:, None, None] * np.ones(image.shape, np.uint32)
    result = tune_intensity_chain(image, labels, sigmas=(1.0,), quantiles=(0.3,), merge_thresholds=(2.0,))
    assert result.voi_split == pytest.approx(0.0, abs=1e-9)
    assert result.voi_merge == pytest.approx(2.0)


def test_chain_refuses_labels_of_another_shape():
    with pytest.raises(InputError, match="labels have shape"):
        tune_intensity_chain(np.zeros((4, 4, 4), np.uint8), np.ones((4, 4, 5), np.uint32))


def test_chain_refuses_labels_without_objects():
    with pytest.raises(InputError, match="0 everywhere"):
        tune_intensity_chain(np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 4), np.uint32))
