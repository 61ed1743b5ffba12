"""Regularisers as methods have them change what a second task learns."""

import pytest
import torch

from model.method import Method
from model.methods import METHODS
from model.tuners import FullTuner
from tests.model.check_method import Lineage

WITHOUT = {"ewc": Method(FullTuner()), "lwf": Method(FullTuner(), scope="rows")}


@pytest.mark.parametrize("name", WITHOUT)
def test_the_first_task_is_learned_as_without_it_and_the_second_is_not(name: str) -> None:
    plain, regularised = Lineage(WITHOUT[name]), Lineage(METHODS[name])
    for classes, same in (([0, 1], True), ([2, 3], False)):
        weights = [lineage.learn(classes).backbone for lineage in (plain, regularised)]
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0]) is same
