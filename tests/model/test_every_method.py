"""Every method passes the one suite (`check_method`); with its heads aligned too it goes on and is restored, and one of
each family does all else.
"""

from collections.abc import Callable

import pytest

from model.methods import DEFAULT, DEFAULT_OF_TRANSFORMERS, METHODS, method_named
from tests.model import check_method
from tests.model.check_method import (
    CHECKS,
    LESSONS,
    LONGER,
    Lineage,
    check_declares_its_memory,
    check_deterministic,
    check_goes_on,
    check_learns,
    check_restored,
    check_resumed,
    real,
)

COMPOSED = (DEFAULT, DEFAULT_OF_TRANSFORMERS, "slca+drift+turned+averaging", "slca+cofima")
ALIGNED = (
    *(f"{name}+ca" for name, method in METHODS.items() if method.aligner is None),
    *(f"{name}+ca" for name in ("bic", "ranpac", "ease", "aper")),
)
"""In place of other aligners too, or begun from these, where that makes another method than those before it."""

FAST = ("dualprompt+ca", "lora+ca", "sl+++ca")
FAMILIES = ("der+++ca", "ewc+ca", "ease+ca", *FAST)
"""Replay, regularisation, an architecture that grows, prompts, few parameters and SLCA++: an aligned method of each."""

LEAST_OF_FIVE = 0.4
"""Ten standard deviations from guesses, at 30 pictures a class."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [*METHODS, *COMPOSED])
def test_every_method(name: str, check: Callable[[str], None]) -> None:
    check(name)


@pytest.mark.parametrize("check", [check_goes_on, check_restored], ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ALIGNED)
def test_every_method_with_its_heads_aligned(name: str, check: Callable[[str], None]) -> None:
    check(name)


@pytest.mark.parametrize(
    "check", [check_resumed, check_declares_its_memory, check_deterministic], ids=lambda check: check.__name__
)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_method_of_each_family_with_its_heads_aligned(name: str, check: Callable[[str], None]) -> None:
    check(name)


@pytest.mark.parametrize("name", FAST)
def test_a_method_with_its_heads_aligned_learns(name: str) -> None:
    """Those that learn fast; replay is looked at below."""
    check_learns(name)


def test_heads_that_are_aligned_after_the_first_task_still_know_it() -> None:
    """In the others the first task is left as it is: those above have been seen to learn it."""
    aligners = {name: method_named(name).aligner for name in ALIGNED}
    at_once = [name for name, aligner in aligners.items() if aligner is not None and aligner.on_first_task]
    assert at_once == ["joint+ca", "ease+ca", "aper+ca"]
    for name in at_once:
        check_learns(name)


@pytest.mark.parametrize("name", ["der+++ca", "bic+ca", "gdumb+ca"])
def test_heads_that_are_aligned_know_all_tasks_where_images_keep_the_features_in_place(name: str) -> None:
    lineage = Lineage(check_method.tested(name), LONGER, real)
    for classes in LESSONS[:2]:
        lineage.learn(classes)
    logits_NC, columns_N = lineage.answers(lineage.known)
    assert (logits_NC.argmax(axis=1) == columns_N).mean() > LEAST_OF_FIVE
