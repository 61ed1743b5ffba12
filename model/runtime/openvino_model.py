"""OpenVINO on CPU over the exported graph, in fp32 or in the CPU's own bf16."""

import sys
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from model.runtime.graph import GRAPH_INPUT, matched, with_weights_as_inputs
from model.runtime.interface import GraphMismatch, RuntimeUnavailable, Weights

# OpenVINO reports its use to Google Analytics through this package where it finds it; nothing here calls home.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

OpenvinoPrecision = Literal["fp32", "bf16"]
_HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenvinoModel:
    """A compiled model whose weights are constants that were put in by name."""

    def __init__(self, graph: bytes, weights: Weights, *, threads: int, precision: OpenvinoPrecision) -> None:
        """Raises `GraphMismatch` where the weights do not fit and `RuntimeUnavailable` where the CPU has no bf16."""
        if precision == "bf16" and not has_bf16():
            raise RuntimeUnavailable("this CPU does not compute in bf16")
        self._precision = precision
        # Constants share the arrays' memory, which therefore has to live as long as the model.
        self._weights = matched(graph, weights)
        self._request = _compiled(graph, self._weights, threads, precision).create_infer_request()
        self._lock = Lock()

    @property
    def name(self) -> str:
        """`openvino` with the precision."""
        return f"openvino cpu {self._precision}"

    def features(self, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`features_BD` of a batch of any size; one batch at a time, since each takes all the threads."""
        with self._lock:
            results = self._request.infer({0: np.ascontiguousarray(pixels_BHWC)}, share_inputs=True)
            return np.array(results[0], dtype=np.float32)

    def close(self) -> None:
        """Give the memory back."""
        with self._lock:
            del self._request
            self._weights = {}


def has_bf16() -> bool:
    """Whether the CPU computes in bf16 itself; where it does not, bf16 would only be slower."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _compiled(graph: bytes, weights: dict[str, NDArray[np.generic]], threads: int, precision: OpenvinoPrecision) -> Any:
    core = openvino.Core()
    try:
        model = core.read_model(with_weights_as_inputs(graph))
        _put_constants(model, weights)
    except RuntimeError as error:
        raise GraphMismatch(f"OpenVINO cannot read the graph: {error}") from error
    return core.compile_model(model, "CPU", _settings(threads, precision))


def _put_constants(model: Any, weights: dict[str, NDArray[np.generic]]) -> None:
    for parameter in list(model.get_parameters()):
        name = next(iter(parameter.output(0).get_names()))
        if name != GRAPH_INPUT:
            constant = openvino.op.Constant(weights[name], shared_memory=True)
            parameter.output(0).replace(constant.output(0))
            model.remove_parameter(parameter)
    model.validate_nodes_and_infer_types()


def _settings(threads: int, precision: OpenvinoPrecision) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Pinned threads would share their cores with the learner's instead of moving out of its way.
        "ENABLE_CPU_PINNING": False,
    }
