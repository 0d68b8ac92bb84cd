"""The expected calibration error, by hand."""

import numpy as np
import pytest

from evaluate.calibration import NUM_BINS, calibration_bins, calibration_error


def test_the_error_is_the_mean_distance_of_confidence_and_accuracy_over_images():
    # Bins of 1/15: two images in the last, of which one is right, and one alone at 0.5, right.
    bins = calibration_bins(np.array([0.95, 0.97, 0.5]), np.array([True, False, True]))
    assert [each.images for each in bins] == [0] * 7 + [1] + [0] * 6 + [2]
    assert bins[-1].confidence == pytest.approx(0.96)
    assert bins[-1].accuracy == 0.5
    assert calibration_error(bins) == pytest.approx((2 * 0.46 + 0.5) / 3)


def test_a_sure_and_correct_classifier_has_no_error_and_ends_belong_to_the_lower_bin():
    bins = calibration_bins(np.array([1.0, 1 / NUM_BINS]), np.array([True, False]))
    assert [each.images for each in bins] == [1, *[0] * (NUM_BINS - 2), 1]
    assert calibration_error(bins[1:]) == 0
