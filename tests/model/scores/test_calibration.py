"""Temperatures that undo a known scale, and errors against a plain restatement."""

import numpy as np
import pytest

from model.scores.calibration import (
    expected_calibration_error,
    fit_temperature,
    fitting_half,
    log_softmax,
    negative_log_likelihood,
    softmax,
)


def drawn(count: int, classes: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits times `scale` whose classes are drawn from the softmax of the unscaled logits."""
    rng = np.random.default_rng(0)
    logits_NC = rng.standard_normal((count, classes)) * 2
    probabilities_NC = np.exp(logits_NC) / np.exp(logits_NC).sum(axis=1, keepdims=True)
    columns_N = (rng.random((count, 1)) > probabilities_NC.cumsum(axis=1)).sum(axis=1)
    return (logits_NC * scale).astype(np.float32), np.minimum(columns_N, classes - 1)


@pytest.mark.parametrize("scale", [0.02, 1.0, 30.0])
def test_the_temperature_undoes_the_scale_of_the_logits(scale: float) -> None:
    assert fit_temperature(*drawn(20_000, 5, scale)) == pytest.approx(scale, rel=0.05)


def test_no_other_temperature_has_less_loss() -> None:
    logits_NC, columns_N = drawn(300, 4, 3.0)
    best = fit_temperature(logits_NC, columns_N)
    least = negative_log_likelihood(logits_NC, columns_N, best)
    assert all(negative_log_likelihood(logits_NC, columns_N, best * f) > least for f in (0.8, 0.95, 1.05, 1.25))


@pytest.mark.parametrize("images", [20, 2_000])
def test_a_head_without_a_mistake_is_as_sure_as_so_many_images_allow(images: int) -> None:
    columns_N = np.arange(images) % 3
    logits_NC = 5.0 * np.eye(3)[columns_N]
    confidence = softmax(logits_NC / fit_temperature(logits_NC, columns_N)).max()
    assert confidence == pytest.approx(1 - 1 / (images + 2), abs=0.1 / images)
    told = softmax(logits_NC / fit_temperature(logits_NC, columns_N, 50)).max()
    assert told == pytest.approx(1 - 1 / 52, abs=0.002)


def test_nothing_to_fit_on_leaves_the_scores_alone() -> None:
    assert fit_temperature(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)) == 1.0
    assert fit_temperature(np.ones((5, 1), np.float32), np.zeros(5, np.int64)) == 1.0


def test_probabilities_sum_to_one_however_large_the_logits() -> None:
    logits_NC = np.array([[1e4, 0, -1e4], [3, 3, 3]], np.float32)
    np.testing.assert_allclose(softmax(logits_NC).sum(axis=1), 1)
    np.testing.assert_allclose(np.exp(log_softmax(logits_NC))[1], 1 / 3)


def test_the_calibration_error_is_the_weighted_gap_of_its_bins() -> None:
    logits_NC, columns_N = drawn(500, 4, 2.5)
    probabilities_NC = softmax(logits_NC)
    confidence, correct = probabilities_NC.max(axis=1), probabilities_NC.argmax(axis=1) == columns_N
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            error += inside.sum() / 500 * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(probabilities_NC, columns_N) == pytest.approx(error)
    assert expected_calibration_error(np.zeros((0, 3)), np.zeros(0, np.int64)) is None


def test_calibrated_scores_have_less_error_than_raw_ones() -> None:
    logits_NC, columns_N = drawn(4_000, 5, 6.0)
    raw = expected_calibration_error(softmax(logits_NC), columns_N)
    fitted = expected_calibration_error(softmax(logits_NC / fit_temperature(logits_NC, columns_N)), columns_N)
    assert raw is not None and fitted is not None and fitted < 0.03 < raw


def test_an_image_keeps_its_half_whatever_comes_with_it() -> None:
    digests = [f"{number:064x}" for number in range(10)]
    assert fitting_half(digests).tolist() == [True, False] * 5
    assert fitting_half(digests[3:4]).tolist() == [False]
    assert fitting_half([]).shape == (0,)
