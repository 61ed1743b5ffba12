"""What every serving runtime can do, and how one fails to open."""

from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

RuntimeKind = Literal["onnxruntime", "openvino-fp32", "openvino-bf16"]
Device = Literal["cpu", "cuda"]
Weights = Mapping[str, NDArray[np.generic]]


class ServingError(RuntimeError):
    """A model that cannot be served from here."""


class RuntimeUnavailable(ServingError):
    """This machine lacks the runtime, or the runtime lacks what was asked of it."""


class GraphMismatch(ServingError):
    """Weights that are not those of the graph, or a graph that cannot be read."""


class Runtime(Protocol):
    """An opened model from pixels to features; safe to use from several threads."""

    @property
    def name(self) -> str:
        """Which runtime this is and what it runs on, for people and logs."""
        ...

    def features(self, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`features_BD` of a batch of any size; those of one image do not depend on what shares its batch."""
        ...

    def close(self) -> None:
        """Give the memory back; the runtime cannot be used any more."""
        ...
