"""ONNX Runtime over the exported graph: CUDA where it is asked for and there, else CPU."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from model.runtime.graph import GRAPH_INPUT, matched
from model.runtime.interface import Device, GraphMismatch, RuntimeUnavailable, Weights

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_CUDA_OPTIONS = {
    # Features are the learner's, in single precision.
    "use_tf32": "0",
    # A search for the fastest convolution would stall the first batch of every size.
    "cudnn_conv_algo_search": "HEURISTIC",
    # Memory in powers of two would be missing to the learner on the same GPU.
    "arena_extend_strategy": "kSameAsRequested",
}
_DRIVER = Path("/dev/nvidiactl")
_ERRORS_ONLY = 3


class OnnxSession:
    """A session whose weights were given from memory, by name."""

    def __init__(self, graph: bytes, weights: Weights, *, threads: int, device: Device) -> None:
        """Raises `GraphMismatch` where the weights do not fit, `RuntimeUnavailable` where the device is not there."""
        onnxruntime.disable_telemetry_events()
        self._device = device
        self._session = _session(graph, matched(graph, weights), threads, device)

    @property
    def name(self) -> str:
        """`onnxruntime` with the device."""
        return f"onnxruntime {self._device} fp32"

    def features(self, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`features_BD` of a batch of any size."""
        features_BD: NDArray[np.float32] = self._session.run(None, {GRAPH_INPUT: pixels_BHWC})[0]
        return features_BD

    def close(self) -> None:
        """Give the memory back."""
        del self._session


def has_cuda() -> bool:
    """Whether this ONNX Runtime was built for CUDA and NVIDIA's driver is here."""
    return _PROVIDERS["cuda"] in onnxruntime.get_available_providers() and _DRIVER.exists()


def _session(
    graph: bytes, weights: dict[str, NDArray[np.generic]], threads: int, device: Device
) -> "onnxruntime.InferenceSession":
    options = _options(threads)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
    options.add_external_initializers(list(weights), values)
    provider = _provider(device)
    settings = _CUDA_OPTIONS if device == "cuda" else {}
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=[(provider, settings)])
    except Exception as error:
        raise GraphMismatch(f"ONNX Runtime cannot open the graph: {error}") from error
    if session.get_providers()[0] != provider:
        raise RuntimeUnavailable(f"ONNX Runtime could not start on {device}")
    return session


def _options(threads: int) -> "onnxruntime.SessionOptions":
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin while they wait would take cores from the learner beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _provider(device: Device) -> str:
    if device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        # CUDA's libraries lie in packages of their own, where the loader does not look.
        onnxruntime.preload_dlls()
    provider = _PROVIDERS[device]
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeUnavailable(f"this ONNX Runtime has no {provider}")
    return provider
