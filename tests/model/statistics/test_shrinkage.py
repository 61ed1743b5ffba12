"""Covariances of few images become usable, those of many stay what they are."""

import numpy as np
import pytest

from model.statistics.shrinkage import FewImages, oracle_shrunk


def test_one_image_borrows_all_and_enough_images_borrow_nothing() -> None:
    few = FewImages(kappa=4.0, fewer_than=10)
    np.testing.assert_allclose(few.borrowed_C(np.array([1, 2, 5, 9, 10, 500]), 8), [1, 0.8, 0.5, 1 / 3, 0, 0])
    np.testing.assert_allclose(few.widening_C(np.array([1, 4, 10])), [np.sqrt(2), np.sqrt(1.25), 1])


def test_more_dimensions_borrow_more_and_no_number_of_images_is_enough() -> None:
    few = FewImages(kappa=4.0, fewer_than=None, of_dimension=0.25)
    counts = np.array([1, 33, 1000])
    np.testing.assert_allclose(few.borrowed_C(counts, 128), [1, 0.5, 32 / 1031])
    np.testing.assert_allclose(few.borrowed_C(counts, 8), [1, 4 / 36, 4 / 1003])
    assert few.widening_C(counts)[2] > 1


def test_the_shrunk_covariance_agrees_with_the_textbook_formula() -> None:
    sklearn = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(0)
    samples_ND = rng.standard_normal((60, 15)) * np.linspace(0.2, 2, 15)
    covariance_DD = samples_ND.T @ samples_ND / 60
    expected_DD, _ = sklearn.oas(samples_ND, assume_centered=True)
    np.testing.assert_allclose(oracle_shrunk(covariance_DD, 60), expected_DD, rtol=1e-9)


@pytest.mark.parametrize("freedom", [0, 1, 3])
def test_no_covariance_stays_singular(freedom: int) -> None:
    row_D = np.arange(6.0)
    for covariance_DD in (np.zeros((6, 6)), np.outer(row_D, row_D), np.eye(6)):
        assert np.linalg.eigvalsh(oracle_shrunk(covariance_DD, freedom)).min() > 0


def test_many_images_keep_their_covariance() -> None:
    covariance_DD = np.diag(np.linspace(0.1, 5, 6))
    np.testing.assert_allclose(oracle_shrunk(covariance_DD, 10**7), covariance_DD, atol=1e-5)
