"""The serving graph, from pixels to features, made once for an architecture: every version only brings weights for it.

The graph carries no weights. Each of its parameters is an initializer with external data, under the name that it has in
`PixelBackbone.state()`, so that a runtime can fill in any version's.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import onnx
import timm
import torch
from onnx import TensorProto

from model.backbones.backbone import PixelBackbone, build
from model.backbones.spec import BackboneSpec
from model.runtime.graph import GRAPH_INPUT, GRAPH_OUTPUT, WEIGHTS_LOCATION

EXPORTER_VERSION: Final = 1
"""Counts up whenever the same architecture would give another graph."""

GRAPH_FILE: Final = "graph.onnx"


def graph_key(spec: BackboneSpec) -> str:
    """SHA-256, in hex, of all that the graph depends on; mean and std are weights and do not count.

    timm's version counts, since its names are the graph's names.
    """
    parts = {
        "exporter": EXPORTER_VERSION,
        "timm": timm.__version__,
        "name": spec.name,
        "image_size": spec.image_size,
        "norm": spec.norm,
    }
    if spec.pooling != "pretrained":
        parts["pooling"] = spec.pooling
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class NotExportable(RuntimeError):
    """A network that torch cannot write as a graph; the text names it, and the first cause in a line."""


def export_graph(spec: BackboneSpec, directory: Path) -> Path:
    """Write `graph.onnx` into the directory: uint8 `pixels_BHWC` in, float32 `features_BD` out, B free.

    Takes some seconds. The same packages give the same bytes. Raises NotExportable.
    """
    backbone = build(spec)
    try:
        model = _traced(backbone)
    # What torch raises depends on where it gives up.
    except Exception as error:
        raise NotExportable(f"{spec.name} cannot be written as an ONNX graph: {_first_cause(error)}") from error
    _take_weights_out(model, backbone.state().keys())
    _take_notes_out(model)
    path = directory / GRAPH_FILE
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def _traced(backbone: PixelBackbone) -> onnx.ModelProto:
    # Two images, since torch.export takes a batch of one for a constant.
    side = backbone.spec.image_size
    program = torch.onnx.export(
        backbone.eval(),
        (torch.zeros(2, side, side, 3, dtype=torch.uint8),),
        dynamo=True,
        optimize=False,
        verbose=False,
        input_names=[GRAPH_INPUT],
        output_names=[GRAPH_OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("B", min=1)},),
    )
    if program is None:
        raise RuntimeError(f"torch exported nothing for {backbone.spec.name}")
    return program.model_proto


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    told = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def _take_weights_out(model: onnx.ModelProto, names: Iterable[str]) -> None:
    # Constants that are no weights (index tables and the like) belong to the architecture and stay inside.
    weights = frozenset(names)
    for initializer in model.graph.initializer:
        if initializer.name in weights:
            initializer.ClearField("raw_data")
            initializer.data_location = TensorProto.EXTERNAL
            initializer.external_data.add(key="location", value=WEIGHTS_LOCATION)


def _take_notes_out(model: onnx.ModelProto) -> None:
    """Drop what the exporter noted for people: most of the bytes, and paths of the machine it ran on."""
    graphs: list[Any] = [model, model.graph, *model.functions]
    for owner in (model.graph, *model.functions):
        graphs += [*owner.node, *owner.value_info]
    graphs += [*model.graph.input, *model.graph.output, *model.graph.initializer]
    for noted in graphs:
        del noted.metadata_props[:]
        noted.ClearField("doc_string")
