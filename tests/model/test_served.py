"""A version opened from its stored parts answers with labels, calibrated scores, and whether it knows what it sees."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save

from model.backbones.backbone import build, extract_features
from model.backbones.spec import BackboneSpec
from model.heads.head import Head
from model.runtime import GraphMismatch, RuntimeKind, ServingError, available_runtimes
from model.scores.novelty import NoveltyRule
from model.served import Prediction, Ranked, ServedModel, open_served
from tests.model.conftest import small_spec

LABELS = ("ape", "bee", "cow", "doe")
TEMPERATURE = 2.5
SPEC = small_spec("test_vit")


def pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)


def head(classes: int = len(LABELS), feature_dim: int = 64) -> Head:
    return Head(np.random.default_rng(0).normal(size=(classes, feature_dim)), np.linspace(-1, 1, classes))


def rule(threshold: float) -> NoveltyRule:
    nothing = np.zeros(0, np.float32)
    return NoveltyRule(np.eye(64, dtype=np.float32), np.zeros((4, 64), np.float32), nothing, threshold)


def seeded_backbone() -> Any:
    torch.manual_seed(5)
    return build(SPEC)


@pytest.fixture
def parts(exported: Callable[[BackboneSpec], bytes]) -> dict[str, bytes]:
    state = {name: value.numpy() for name, value in seeded_backbone().state().items()}
    return {"graph": exported(SPEC), "backbone": save(state), "head": save(head().to_arrays())}


def description(labels: tuple[str, ...] = LABELS) -> dict[str, Any]:
    return {"spec": SPEC.to_json(), "classes": [{"label": label} for label in labels], "temperature": TEMPERATURE}


def opened(parts: Mapping[str, bytes], kind: RuntimeKind = "onnxruntime", **changed: Any) -> ServedModel:
    return open_served(parts, description() | changed, kind=kind, threads=1)


def expected_scores(count: int) -> NDArray[np.float64]:
    logits = head().logits(extract_features(seeded_backbone(), pixels(count), batch_size=8)) / TEMPERATURE
    raised = np.exp(logits.astype(np.float64))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("kind", available_runtimes())
def test_scores_are_the_softmax_of_calibrated_logits(kind: RuntimeKind, parts: dict[str, bytes]) -> None:
    with opened(parts, kind) as model:
        predictions = model.predict(pixels(6), top_k=4)
    for prediction, scores in zip(predictions, expected_scores(6), strict=True):
        given = {one.label: one.score for one in prediction.top}
        np.testing.assert_allclose([given[label] for label in LABELS], scores, atol=0.05 if "bf16" in kind else 1e-5)
        assert sum(given.values()) == pytest.approx(1)
        assert [one.score for one in prediction.top] == sorted(given.values(), reverse=True)
        assert Ranked(prediction.label, prediction.score) == prediction.top[0]


@pytest.mark.parametrize("kind", available_runtimes())
def test_an_answer_does_not_depend_on_what_shares_the_batch(kind: RuntimeKind, parts: dict[str, bytes]) -> None:
    with opened(parts, kind) as model:
        together = model.predict(pixels(7), top_k=1)
        alone = [answer for one in pixels(7) for answer in model.predict(one[None], top_k=1)]
    assert [one.label for one in together] == [one.label for one in alone]
    np.testing.assert_allclose([one.score for one in together], [one.score for one in alone], atol=1e-4)


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (1, 1), (3, 3), (99, 4)])
def test_top_k_is_at_least_one_and_at_most_all(asked: int, given: int, parts: dict[str, bytes]) -> None:
    with opened(parts) as model:
        assert len(model.predict(pixels(1), asked)[0].top) == given


def test_equal_scores_go_to_the_older_class(parts: dict[str, bytes]) -> None:
    flat = Head(np.zeros((4, 64)), np.zeros(4))
    with opened(parts | {"head": save(flat.to_arrays())}) as model:
        assert model.predict(pixels(1), 2) == [
            Prediction("ape", 0.25, True, (Ranked("ape", 0.25), Ranked("bee", 0.25))),
        ]


def test_huge_logits_make_certain_scores_not_errors(parts: dict[str, bytes]) -> None:
    steep = Head(head().weight_CD * 1e6, head().bias_C)
    with opened(parts | {"head": save(steep.to_arrays())}) as model:
        assert all(np.isfinite(one.score) for answer in model.predict(pixels(3), 4) for one in answer.top)


@pytest.mark.parametrize(("threshold", "known"), [(-np.inf, True), (0.5, False)])
def test_known_is_what_the_rule_says(threshold: float, known: bool, parts: dict[str, bytes]) -> None:
    with opened(parts | {"novelty": save(rule(threshold).to_arrays())}) as model:
        assert {answer.known for answer in model.predict(pixels(3), 1)} == {known}


@pytest.mark.parametrize("kind", available_runtimes())
def test_a_rule_on_the_class_token_alone_answers_as_it_does_in_numpy(
    kind: RuntimeKind, exported: Callable[[BackboneSpec], bytes]
) -> None:
    longer = small_spec("test_vit", "token+avg")
    torch.manual_seed(5)
    backbone = build(longer)
    features_ND = extract_features(backbone, pixels(8), batch_size=8)
    shown = replace(rule(0.0), whitening_KK=np.diag(np.linspace(0.5, 2, 64)).astype(np.float32))
    scores_N = np.sort(shown.scores(features_ND))
    widest = np.diff(scores_N).argmax()
    shown = replace(shown, threshold=float(scores_N[widest : widest + 2].mean()))
    files = {
        "graph": exported(longer),
        "backbone": save({name: value.numpy() for name, value in backbone.state().items()}),
        "head": save(head(feature_dim=128).to_arrays()),
        "novelty": save(shown.to_arrays()),
    }
    with opened(files, kind, spec=longer.to_json()) as model:
        model.warm()
        known = [answer.known for answer in model.predict(pixels(8), 1)]
    assert known == shown.known(features_ND).tolist() and len(set(known)) == 2


def test_warming_finds_a_rule_for_longer_features(parts: dict[str, bytes]) -> None:
    longer = replace(rule(0.0), whitening_KK=np.eye(65, dtype=np.float32), centre_CK=np.zeros((4, 65), np.float32))
    with opened(parts | {"novelty": save(longer.to_arrays())}) as model, pytest.raises(ServingError, match="rule"):
        model.warm()


def test_without_a_rule_everything_counts_as_known(parts: dict[str, bytes]) -> None:
    with opened(parts) as model:
        assert all(answer.known for answer in model.predict(pixels(3), 1))


def test_pictures_become_views_of_the_version_s_size(parts: dict[str, bytes]) -> None:
    with opened(parts) as model:
        assert model.view(np.zeros((30, 90, 3), np.uint8)).shape == (64, 64, 3)
        assert model.labels == LABELS


def test_logits_are_the_head_s_before_the_temperature(parts: dict[str, bytes]) -> None:
    with opened(parts) as model:
        expected = head().logits(extract_features(seeded_backbone(), pixels(4), batch_size=4))
        np.testing.assert_allclose(model.logits(pixels(4)), expected, atol=1e-4)
        model.warm((1, 3))


def test_labels_and_head_must_be_of_one_number(parts: dict[str, bytes]) -> None:
    for labels in (LABELS[:3], ()):
        with pytest.raises(ServingError, match="labels"):
            open_served(parts, description(labels), kind="onnxruntime", threads=1)


@pytest.mark.parametrize("role", ["graph", "backbone", "head"])
def test_missing_parts_are_refused(role: str, parts: dict[str, bytes]) -> None:
    with pytest.raises(GraphMismatch, match=role):
        opened({name: data for name, data in parts.items() if name != role})


@pytest.mark.parametrize("role", ["graph", "backbone", "head", "novelty"])
@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_damaged_parts_are_refused(role: str, damage: str, parts: dict[str, bytes]) -> None:
    whole = parts | {"novelty": save(rule(0.0).to_arrays())}
    damaged = {"empty": b"", "text": b"a" * 300, "cut": whole[role][: len(whole[role]) // 2]}
    with pytest.raises(GraphMismatch):
        opened(whole | {role: damaged[damage]})


@pytest.mark.parametrize("missing", ["spec", "classes", "temperature"])
def test_a_description_without_what_serving_needs_is_refused(missing: str, parts: dict[str, bytes]) -> None:
    told = {name: value for name, value in description().items() if name != missing}
    with pytest.raises(GraphMismatch, match=missing):
        open_served(parts, told, kind="onnxruntime", threads=1)


def test_warming_finds_a_head_for_other_features(parts: dict[str, bytes]) -> None:
    with opened(parts | {"head": save(head(feature_dim=63).to_arrays())}) as model, pytest.raises(ServingError):
        model.warm()


def test_warming_finds_weights_that_are_no_numbers(parts: dict[str, bytes]) -> None:
    broken = Head(np.full((4, 64), np.nan), np.zeros(4))
    with opened(parts | {"head": save(broken.to_arrays())}) as model, pytest.raises(ServingError, match="no numbers"):
        model.warm()
