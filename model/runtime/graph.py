"""The exported graph as bytes, and a version's weights matched to it by name."""

from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from model.runtime.interface import GraphMismatch, Weights

GRAPH_INPUT: Final = "pixels_BHWC"
GRAPH_OUTPUT: Final = "features_BD"

WEIGHTS_LOCATION: Final = "weights"
"""The file name that every external initializer names. There is no such file: the weights come from memory."""


def matched(graph: bytes, weights: Weights) -> dict[str, NDArray[np.generic]]:
    """The weights that the graph asks for, contiguous; raises `GraphMismatch` naming what is missing or misshapen."""
    wanted = {tensor.name: tensor for tensor in _external(_parsed(graph))}
    missing = sorted(name for name in wanted if name not in weights)
    if missing:
        raise GraphMismatch(f"the weights lack what the graph needs: {', '.join(missing)}")
    found = {name: np.ascontiguousarray(weights[name]) for name in wanted}
    wrong = sorted(name for name, tensor in wanted.items() if not _fits(tensor, found[name]))
    if wrong:
        raise GraphMismatch(f"the weights have another shape or type than the graph's: {', '.join(wrong)}")
    return found


def with_weights_as_inputs(graph: bytes) -> bytes:
    """The same graph with its external initializers as inputs, for a runtime to put constants in their place."""
    model = _parsed(graph)
    external = _external(model)
    model.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)) for tensor in external
    )
    kept = [tensor for tensor in model.graph.initializer if tensor.data_location != TensorProto.EXTERNAL]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return bytes(model.SerializeToString())


def _parsed(graph: bytes) -> onnx.ModelProto:
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(graph)
    except Exception as error:
        raise GraphMismatch("the graph is no ONNX model") from error
    return model


def _external(model: onnx.ModelProto) -> list[TensorProto]:
    return [tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL]


def _fits(tensor: TensorProto, value: NDArray[np.generic]) -> bool:
    return tuple(tensor.dims) == value.shape and helper.tensor_dtype_to_np_dtype(tensor.data_type) == value.dtype
