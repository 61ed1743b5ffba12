"""From a version's weights to a running model: one interface, several runtimes over the same graph. Free of torch."""

from importlib.util import find_spec

from model.runtime.interface import (
    Device,
    GraphMismatch,
    Runtime,
    RuntimeKind,
    RuntimeUnavailable,
    ServingError,
    Weights,
)
from model.runtime.machine import machine_type

__all__ = [
    "Device",
    "GraphMismatch",
    "Runtime",
    "RuntimeKind",
    "RuntimeUnavailable",
    "ServingError",
    "Weights",
    "available_runtimes",
    "best_device",
    "is_installed",
    "machine_type",
    "open_runtime",
]


def is_installed(kind: RuntimeKind) -> bool:
    """Whether there is a package for the kind; nothing of it is imported."""
    return find_spec(kind.partition("-")[0]) is not None


def available_runtimes() -> tuple[RuntimeKind, ...]:
    """The kinds that this machine can open on its CPU, the reference first."""
    kinds: list[RuntimeKind] = []
    if is_installed("onnxruntime"):
        kinds.append("onnxruntime")
    if is_installed("openvino-fp32"):
        kinds.append("openvino-fp32")
        from model.runtime.openvino_model import has_bf16

        if has_bf16():
            kinds.append("openvino-bf16")
    return tuple(kinds)


def best_device() -> Device:
    """`cuda` where ONNX Runtime can use a GPU of this machine, else `cpu`."""
    if not is_installed("onnxruntime"):
        return "cpu"
    from model.runtime.onnx_session import has_cuda

    return "cuda" if has_cuda() else "cpu"


def open_runtime(kind: RuntimeKind, graph: bytes, weights: Weights, *, threads: int, device: Device = "cpu") -> Runtime:
    """Open the exported graph with a version's weights, by name, from memory.

    `device` is for ONNX Runtime; OpenVINO runs on the CPU. Raises `RuntimeUnavailable` where the package, the device or
    the precision is missing, and `GraphMismatch` where graph and weights do not belong together.
    """
    try:
        if kind == "onnxruntime":
            from model.runtime.onnx_session import OnnxSession

            return OnnxSession(graph, weights, threads=threads, device=device)
        from model.runtime.openvino_model import OpenvinoModel
    except ImportError as error:
        raise RuntimeUnavailable(f"the package for {kind} is not installed") from error
    return OpenvinoModel(graph, weights, threads=threads, precision="bf16" if kind == "openvino-bf16" else "fp32")
