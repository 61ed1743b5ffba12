"""Pictures are found however they were put away, and nothing else is taken for one."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from model.memories import GreedyMemory
from model.method import Method
from model.tuners import FullTuner
from tests.digits import pictures
from tests.model.check_method import Lineage, parts_of, real, root_of
from tests.model.traces import Traces

SPEC = root_of("test_vit").spec
SHOWN = [picture for digit in (3, 6) for picture in pictures(digit)[:5]]


def resized(shown: Tensor, side: int, mode: str = "bilinear") -> Tensor:
    return torch.nn.functional.interpolate(shown.permute(0, 3, 1, 2).float(), size=side, mode=mode)


DISGUISES: dict[str, Callable[[Tensor], Tensor]] = {
    "as they are": lambda shown_NHWC: shown_NHWC,
    "parts of white": lambda shown_NHWC: shown_NHWC.float() / 255,
    "normalised by channel, in half": lambda shown_NHWC: (
        (shown_NHWC / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    ).half(),
    "a negative, channels first": lambda shown_NHWC: (255 - shown_NHWC).permute(0, 3, 1, 2).bfloat16(),
    "grey": lambda shown_NHWC: shown_NHWC.float().mean(dim=-1),
    "in four bits": lambda shown_NHWC: shown_NHWC // 16,
    "as large as the backbone sees": lambda shown_NHWC: resized(shown_NHWC, 32),
    "smaller": lambda shown_NHWC: resized(shown_NHWC, 16).to(torch.int16),
    "the last axis counts": lambda shown_NHWC: shown_NHWC.permute(1, 2, 3, 0).double(),
    "behind a number each": lambda shown_NHWC: torch.cat([torch.ones(len(shown_NHWC), 1), shown_NHWC.flatten(1)], 1),
    "packed": lambda shown_NHWC: shown_NHWC.contiguous().flatten().view(torch.int64),
    "packed as if they were fractions": lambda shown_NHWC: shown_NHWC.contiguous().flatten().view(torch.float32),
}
"""Ways to keep pictures N×8×8×3."""


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_picture_is_found_in_every_disguise(disguise: str) -> None:
    kept = DISGUISES[disguise](torch.from_numpy(np.stack(SHOWN[4:6])))
    assert Traces.of(SHOWN, SPEC).are_in(kept)
    assert not Traces.of(SHOWN[:4] + SHOWN[6:], SPEC).are_in(kept), "other pictures of the same digits"


def test_a_single_picture_in_much_noise_is_found() -> None:
    noise_N = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert not Traces.of(SHOWN, SPEC).are_in(noise_N)
    noise_N[777 : 777 + 192] = torch.from_numpy(SHOWN[7]).flatten() / 1e3 + 5
    assert Traces.of(SHOWN, SPEC).are_in(noise_N)


def test_nothing_is_found_where_all_numbers_are_the_same_or_none_is_one() -> None:
    for empty in (torch.zeros(500), torch.full((500,), torch.nan), torch.full((500,), torch.inf), torch.zeros(3, 0)):
        assert not Traces.of(SHOWN, SPEC).are_in(empty)


def test_a_mean_of_many_pictures_is_none_of_them() -> None:
    mean_HW3 = torch.from_numpy(np.mean(pictures(3)[:50], axis=0))
    assert not Traces.of(pictures(3)[:50], SPEC).are_in(mean_HW3)


def test_pictures_are_found_in_a_memory_that_keeps_them_and_nowhere_else_in_its_version() -> None:
    lineage = Lineage(Method(FullTuner(), memory=GreedyMemory(capacity=3), scope="seen", restarts=True), source=real)
    version = lineage.learn([3, 6], 5)
    traces = Traces.of(real([3, 6], 5)[0], SPEC)
    assert [key for key, tensor in parts_of(version).items() if traces.are_in(tensor)] == [
        "learner/kept/memory/pixels_P"
    ]
