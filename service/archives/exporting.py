"""What an exported version consists of, so that it can be used where Everclass is not."""

import json
import struct
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load as load_arrays

from model.heads.head import Head
from model.heads.spread import Spread
from model.runtime.graph import GRAPH_INPUT, GRAPH_OUTPUT
from service.archives.zipping import Entry
from stream.blobs import Blobs
from stream.errors import Conflict, DamagedBlob, NotFound
from stream.manifest import Manifest, load_manifest, load_parts, manifest_key
from stream.versions import Version

WEIGHTS_FILE = "backbone.safetensors"
LOGITS = "logits_BC"
OPSET_DOMAIN = ""


def archive_of(blobs: Blobs, version: Version, form: Literal["onnx", "safetensors"]) -> list[Entry]:
    """The files of the export, every one checked against the manifest before the first byte is sent.

    Raises Conflict where a part is missing or damaged.
    """
    try:
        manifest = load_manifest(blobs, version.digest)
        return onnx_entries(blobs, version, manifest) if form == "onnx" else part_entries(blobs, version, manifest)
    except (NotFound, DamagedBlob) as error:
        raise Conflict(f"version {version.version} is damaged: {error}", field="version") from error


def part_entries(blobs: Blobs, version: Version, manifest: Manifest) -> list[Entry]:
    """Manifest and parts as they are stored, under names that people can read.

    Which pictures judged the version is nobody's business elsewhere, and an import leaves it out.
    """
    shipped = sorted((role, part) for role, part in manifest.parts.items() if role != "judged")
    named = [Entry(file_name(role), blobs.path(part.key)) for role, part in shipped]
    stored = Entry("manifest.json", blobs.get(manifest_key(version.digest)))
    return [stored, *named, Entry("labels.json", labels_json(version)), Entry("README.md", words("safetensors.md"))]


def onnx_entries(blobs: Blobs, version: Version, manifest: Manifest) -> list[Entry]:
    """A graph from pixels to logits, its weights beside it, labels, and a script that runs it."""
    small = load_parts(blobs, manifest, ("graph", "head"))
    weights = blobs.path(manifest.parts["backbone"].key)
    head = Head.from_arrays(load_arrays(small["head"]))
    graph = with_head(with_weights_in(small["graph"], weights), head)
    return [
        Entry("model.onnx", graph),
        Entry(WEIGHTS_FILE, weights),
        Entry("labels.json", labels_json(version)),
        Entry("settings.json", settings_json(version, manifest)),
        Entry("run.py", words("run.py")),
        Entry("README.md", words("onnx.md")),
    ]


def with_weights_in(graph: bytes, weights: Path) -> onnx.ModelProto:
    """The graph, each weight pointing at its place inside the safetensors file, whose bytes are ONNX's raw ones."""
    model: onnx.ModelProto = onnx.ModelProto.FromString(graph)
    places = tensor_places(weights)
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            offset, length = places[tensor.name]
            del tensor.external_data[:]
            for key, value in (("location", WEIGHTS_FILE), ("offset", str(offset)), ("length", str(length))):
                tensor.external_data.add(key=key, value=value)
    return model


def tensor_places(weights: Path) -> dict[str, tuple[int, int]]:
    """Offset and length in bytes of each tensor in a safetensors file, by name."""
    with weights.open("rb") as file:
        (header_bytes,) = struct.unpack("<Q", file.read(8))
        header: dict[str, Any] = json.loads(file.read(header_bytes))
    start = 8 + header_bytes
    spans = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    return {name: (start + first, last - first) for name, (first, last) in spans.items()}


def with_head(model: onnx.ModelProto, head: Head) -> bytes:
    """The model with the head as last nodes: `logits_BC` out instead of features."""
    weight_DC = _tensor(head.weight_CD.T, "head_weight")
    bias_C = _tensor(head.bias_C, "head_bias")
    spread_nodes, spread_tensors = ([], []) if head.spread is None else _spread(head.spread)
    model.graph.initializer.extend([weight_DC, bias_C, *spread_tensors])
    linear = "everclass_linear" if spread_nodes else LOGITS
    model.graph.node.extend(
        [
            helper.make_node("MatMul", [GRAPH_OUTPUT, weight_DC.name], ["everclass_scores"]),
            helper.make_node("Add", ["everclass_scores", bias_C.name], [linear]),
            *spread_nodes,
        ]
    )
    batch = model.graph.output[0].type.tensor_type.shape.dim[0].dim_param or "B"
    del model.graph.output[:]
    output = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, [batch, head.class_count])
    model.graph.output.append(output)
    return bytes(model.SerializeToString())


def _spread(spread: Spread) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes that add the spread to `everclass_linear`: along every direction at once, squared, weighed, summed."""
    classes, count = spread.gain_CR.shape
    direction_DK = _tensor(spread.direction_CRD.reshape(classes * count, -1).T, "spread_direction")
    offset_K, gain_CR = _tensor(spread.offset_CR.reshape(-1), "spread_offset"), _tensor(spread.gain_CR, "spread_gain")
    constant_C = _tensor(spread.constant_C, "spread_constant")
    by_class = _tensor(np.array([-1, classes, count], np.int64), "spread_by_class")
    last = _tensor(np.array([2], np.int64), "spread_last")
    nodes = [
        helper.make_node("MatMul", [GRAPH_OUTPUT, direction_DK.name], ["everclass_along"]),
        helper.make_node("Sub", ["everclass_along", offset_K.name], ["everclass_off"]),
        helper.make_node("Mul", ["everclass_off", "everclass_off"], ["everclass_squares"]),
        helper.make_node("Reshape", ["everclass_squares", by_class.name], ["everclass_squares_of_class"]),
        helper.make_node("Mul", ["everclass_squares_of_class", gain_CR.name], ["everclass_weighed"]),
        helper.make_node("ReduceSum", ["everclass_weighed", last.name], ["everclass_spread"], keepdims=0),
        helper.make_node("Add", ["everclass_spread", constant_C.name], ["everclass_constant_spread"]),
        helper.make_node("Add", ["everclass_linear", "everclass_constant_spread"], [LOGITS]),
    ]
    return nodes, [direction_DK, offset_K, gain_CR, constant_C, by_class, last]


def _tensor(array: NDArray[np.generic], name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(array), f"everclass_{name}")


def labels_json(version: Version) -> bytes:
    """The labels in the order of the logits."""
    return json.dumps(list(version.labels), ensure_ascii=False, indent=1).encode()


def settings_json(version: Version, manifest: Manifest) -> bytes:
    """What `run.py` needs to know."""
    spec = manifest.description["spec"]
    settings = {
        "version": version.version,
        "input": GRAPH_INPUT,
        "image_size": spec["image_size"],
        "crop_fraction": spec["crop_fraction"],
        "interpolation": spec["interpolation"],
        "temperature": manifest.description["temperature"],
    }
    return json.dumps(settings, indent=1).encode()


def file_name(role: str) -> str:
    """The name of a part's file."""
    return "graph.onnx" if role == "graph" else f"{role}.safetensors"


def words(name: str) -> bytes:
    """A text that goes into the archive."""
    return files("service.archives.contents").joinpath(name).read_bytes()
