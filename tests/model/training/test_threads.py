"""Work in the block takes so many threads, and what comes after it as many as before."""

import numpy as np
import scipy.linalg
import torch
from threadpoolctl import threadpool_info

from model.training.threads import limited_threads


def blas_threads() -> set[int]:
    scipy.linalg.cholesky(np.eye(2))
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_torch_and_the_linear_algebra_keep_to_the_number() -> None:
    before = torch.get_num_threads()
    with limited_threads(2):
        outer = torch.get_num_threads(), blas_threads()
        with limited_threads(1):
            assert (torch.get_num_threads(), blas_threads()) == (1, {1})
        assert (torch.get_num_threads(), blas_threads()) == outer == (2, {2})
    assert torch.get_num_threads() == before


def test_without_a_number_nothing_changes() -> None:
    before = torch.get_num_threads(), blas_threads()
    with limited_threads(None):
        assert (torch.get_num_threads(), blas_threads()) == before
