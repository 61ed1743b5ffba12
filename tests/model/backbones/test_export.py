"""The exported graph names its weights as the backbone does, holds none of them, and is the same every time."""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import timm
from onnx import TensorProto

from model.backbones.backbone import build
from model.backbones.export import GRAPH_FILE, export_graph, graph_key
from model.backbones.spec import BackboneSpec
from tests.model.conftest import small_spec


def initializers(graph: bytes, *, external: bool) -> dict[str, TensorProto]:
    model = onnx.ModelProto.FromString(graph)
    outside = TensorProto.EXTERNAL
    return {one.name: one for one in model.graph.initializer if (one.data_location == outside) == external}


def test_every_weight_is_external_under_the_backbone_s_own_name(
    spec: BackboneSpec, exported: Callable[[BackboneSpec], bytes]
) -> None:
    state = build(spec).state()
    named = initializers(exported(spec), external=True)
    assert named.keys() == state.keys()
    assert all(tuple(named[name].dims) == value.shape for name, value in state.items())


def test_the_graph_carries_no_weights(spec: BackboneSpec, exported: Callable[[BackboneSpec], bytes]) -> None:
    inside = initializers(exported(spec), external=False).values()
    assert sum(math.prod(one.dims) for one in inside) < 1000
    assert all(not one.raw_data for one in initializers(exported(spec), external=True).values())


def test_the_graph_tells_nothing_of_the_machine_that_made_it(
    spec: BackboneSpec, exported: Callable[[BackboneSpec], bytes]
) -> None:
    graph = exported(spec)
    assert b".py" not in graph and b"site-packages" not in graph


def test_pixels_go_in_and_features_come_out_with_a_free_batch(exported: Callable[[BackboneSpec], bytes]) -> None:
    graph = onnx.ModelProto.FromString(exported(small_spec("test_vit"))).graph
    (pixels,), (features,) = graph.input, graph.output
    assert (pixels.name, pixels.type.tensor_type.elem_type) == ("pixels_BHWC", TensorProto.UINT8)
    assert (features.name, features.type.tensor_type.elem_type) == ("features_BD", TensorProto.FLOAT)
    batch, *rest = pixels.type.tensor_type.shape.dim
    assert batch.dim_param and [one.dim_value for one in rest] == [64, 64, 3]


def test_a_second_export_gives_the_same_bytes(exported: Callable[[BackboneSpec], bytes], tmp_path: Path) -> None:
    path = export_graph(small_spec("test_efficientnet"), tmp_path)
    assert path == tmp_path / GRAPH_FILE
    assert path.read_bytes() == exported(small_spec("test_efficientnet"))


def test_the_key_is_of_what_the_graph_depends_on() -> None:
    spec = small_spec("test_vit")
    fed_otherwise = replace(
        spec, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), crop_fraction=0.5, interpolation="bilinear"
    )
    assert graph_key(spec) == graph_key(fed_otherwise)
    changes = [{"image_size": 96}, {"norm": "fresh"}, {"name": "test_vit2"}, {"pooling": "token+avg"}]
    others = [replace(spec, **change) for change in changes]
    assert len({graph_key(one) for one in [spec, *others]}) == 5
    assert len(graph_key(spec)) == 64


def test_the_key_of_the_weights_own_features_is_what_it_was_before_there_were_others() -> None:
    spec = small_spec("test_vit")
    parts = {"exporter": 1, "timm": timm.__version__, "name": "test_vit", "image_size": 64, "norm": "pretrained"}
    assert graph_key(spec) == hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    assert "pooling" not in spec.to_json() and replace(spec, pooling="token+avg").to_json()["pooling"] == "token+avg"
