"""Which errors take the accelerator from this process for good."""

from collections.abc import Iterator

import torch

OF_THE_DEVICE: tuple[type[Exception], ...] = (torch.AcceleratorError,) if hasattr(torch, "AcceleratorError") else ()
"""PyTorch has a class of its own for them since 2.8."""
SAID = "CUDA error"
"""How their words begin; of a full memory, after which the device goes on, it says `CUDA out of memory`."""


class DeviceLost(Exception):
    """Every later call of this process on its device would fail as well; a new process may have it again."""


def loses_device(error: BaseException) -> bool:
    """Whether the error, or one that it came of, leaves the device's context unusable for the process."""
    return any(_is_sticky(one) for one in _chain(error))


def _is_sticky(error: BaseException) -> bool:
    return isinstance(error, OF_THE_DEVICE) or (isinstance(error, RuntimeError) and str(error).startswith(SAID))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
