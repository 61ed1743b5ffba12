"""Scores that mean what they say: one temperature a version, and the error that is left. Free of torch.

Guo et al. 2017, "On Calibration of Modern Neural Networks". Alignment leaves the scale of the logits arbitrary, so
that a temperature is always needed.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

LOG_TEMPERATURE_BOUNDS = (-7.0, 7.0)
"""Natural logarithms: temperatures from about 1/1,100 to 1,100."""


def log_softmax(logits_NC: Floats) -> NDArray[np.float64]:
    """Logarithms of the probabilities of each row, in float64 and without overflow."""
    shifted_NC = logits_NC.astype(np.float64) - logits_NC.max(axis=1, keepdims=True)
    return np.asarray(shifted_NC - np.log(np.exp(shifted_NC).sum(axis=1, keepdims=True)))


def softmax(logits_NC: Floats) -> NDArray[np.float64]:
    """Probabilities of each row."""
    return np.exp(log_softmax(logits_NC))


def negative_log_likelihood(logits_NC: Floats, columns_N: Ints, temperature: float) -> float:
    """Mean over images of −log of the right class's probability at this temperature."""
    log_probability_NC = log_softmax(logits_NC / temperature)
    return float(-log_probability_NC[np.arange(len(columns_N)), columns_N].mean())


def fit_temperature(logits_NC: Floats, columns_N: Ints, images: int | None = None) -> float:
    """The temperature of least negative log-likelihood, one more image than the `images` that there were (None: one a
    row) being of any other class.

    After N images without a mistake the next is wrong with a chance of 1/(N + 2) (the rule of succession); without it a
    head that makes no mistake would be sure of whatever it answers. 1.0 without images or with a single class.
    """
    if len(columns_N) == 0 or logits_NC.shape[1] < 2:
        return 1.0
    wrong = 1 / ((len(columns_N) if images is None else images) + 2)
    found = minimize_scalar(
        lambda log_t: _smoothed_likelihood(logits_NC, columns_N, float(np.exp(log_t)), wrong),
        bounds=LOG_TEMPERATURE_BOUNDS,
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x))


def _smoothed_likelihood(logits_NC: Floats, columns_N: Ints, temperature: float, wrong: float) -> float:
    """Mean negative log-likelihood where the right class has 1 − `wrong`, and the others share the rest."""
    log_probability_NC = log_softmax(logits_NC / temperature)
    right_N = log_probability_NC[np.arange(len(columns_N)), columns_N]
    others_N = (log_probability_NC.sum(axis=1) - right_N) / (logits_NC.shape[1] - 1)
    return float(-((1 - wrong) * right_N + wrong * others_N).mean())


def expected_calibration_error(probabilities_NC: Floats, columns_N: Ints, bins: int = 15) -> float | None:
    """Mean gap of confidence and accuracy over equal bins of confidence, weighted by images; None without images."""
    if len(columns_N) == 0:
        return None
    confidence_N = probabilities_NC.max(axis=1)
    correct_N = probabilities_NC.argmax(axis=1) == columns_N
    bin_N = np.clip(np.ceil(confidence_N * bins).astype(np.int64) - 1, 0, bins - 1)
    gap_bins = np.bincount(bin_N, weights=confidence_N - correct_N, minlength=bins)
    return float(np.abs(gap_bins).sum() / len(columns_N))


def fitting_half(pixel_digests: Sequence[str]) -> NDArray[np.bool_]:
    """Which images fit the temperature and the threshold; the others report.

    Decided by the last bit of each hexadecimal digest of decoded pixels, so that an image never changes its half.
    """
    return np.array([int(digest[-1], 16) % 2 == 0 for digest in pixel_digests], dtype=np.bool_)
