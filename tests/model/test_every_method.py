"""Every method passes the one suite (`check_method`), also with its heads aligned."""

from collections.abc import Callable

import pytest

from model.methods import METHODS
from tests.model.check_method import CHECKS

ALIGNED = tuple(f"{name}+ca" for name, method in METHODS.items() if method.aligner is None)

MODIFIED = ("slca+drift+warm", "slca+drift+averaging")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", [*METHODS, *ALIGNED, *MODIFIED])
def test_every_method(name: str, check: Callable[[str], None]) -> None:
    check(name)
