"""A version as it answers: pixels in, labels and calibrated scores out. Free of torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from model.backbones.spec import BackboneSpec
from model.heads.head import Head
from model.pixels.preprocess import evaluation_view
from model.runtime import Device, GraphMismatch, Runtime, RuntimeKind, ServingError, open_runtime
from model.scores.novelty import NoveltyRule

SERVED_PARTS = ("graph", "backbone", "head", "novelty")
"""The roles of the parts that serving needs; a version without a novelty rule has no `novelty`."""


@dataclass(frozen=True)
class Ranked:
    """A label with its calibrated score in 0–1."""

    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The best label of one image, and the best ones in order; unless `known`, it lies far from every class."""

    label: str
    score: float
    known: bool
    top: tuple[Ranked, ...]


class ServedModel:
    """An opened runtime with the head of one version; safe to use from several threads.

    `temperature` divides the logits, `labels` name the head's columns. Without a novelty rule every image counts as
    known. Raises `ServingError` where there is no class, or labels and head differ.
    """

    def __init__(
        self,
        runtime: Runtime,
        head: Head,
        temperature: float,
        labels: Sequence[str],
        novelty: NoveltyRule | None,
        spec: BackboneSpec,
    ) -> None:
        if len(labels) != head.class_count or not labels:
            raise ServingError(f"a head of {head.class_count} classes cannot answer with {len(labels)} labels")
        self.runtime = runtime
        self.labels = tuple(labels)
        self.spec = spec
        self._head = head
        self._temperature = temperature
        self._novelty = novelty

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def view(self, pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A decoded picture as the square that `predict` takes."""
        return evaluation_view(pixels_HWC, self.spec)

    def logits(self, pixels_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """`logits_BC` of views, before the temperature."""
        return self._head.logits(self.runtime.features(pixels_BHWC))

    def predict(self, pixels_BHWC: NDArray[np.uint8], top_k: int) -> list[Prediction]:
        """An answer for each view, with the `top_k` best labels (at least one, at most all)."""
        features_BD = self.runtime.features(pixels_BHWC)
        scores_BC = _softmax(self._head.logits(features_BD) / self._temperature)
        known_B = self._known(features_BD)
        best_BK = _best_columns(scores_BC, top_k)
        return [self._answer(*row) for row in zip(scores_BC, best_BK, known_B, strict=True)]

    def warm(self, batch_sizes: Sequence[int] = (1, 2)) -> None:
        """Run batches of these sizes, so that no request pays for what a runtime does at its first ones.

        Raises `ServingError` where the answers are no numbers, or the runtime's features are not what the head takes.
        """
        side = self.spec.image_size
        for size in batch_sizes:
            pixels_BHWC = np.zeros((size, side, side, 3), np.uint8)
            try:
                finite = np.isfinite(self.logits(pixels_BHWC)).all()
                self.predict(pixels_BHWC, 1)
            except ValueError as error:
                raise ServingError(f"head and novelty rule do not take these features: {error}") from error
            if not finite:
                raise ServingError("the model answers with values that are no numbers")

    def close(self) -> None:
        """Close the runtime."""
        self.runtime.close()

    def _known(self, features_BD: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.ones(len(features_BD), bool) if self._novelty is None else self._novelty.known(features_BD)

    def _answer(self, scores_C: NDArray[np.float64], best_K: NDArray[np.intp], known: np.bool_) -> Prediction:
        top = tuple(Ranked(self.labels[column], float(scores_C[column])) for column in best_K)
        return Prediction(top[0].label, top[0].score, bool(known), top)


def open_served(
    parts: Mapping[str, bytes],
    description: Mapping[str, Any],
    *,
    kind: RuntimeKind,
    threads: int,
    device: Device = "cpu",
) -> ServedModel:
    """The model of a version's parts, by role (`SERVED_PARTS`), and of what `Snapshot.describe` says.

    Raises `RuntimeUnavailable` where this machine cannot run the kind, and `GraphMismatch` where the parts are damaged
    or do not belong together.
    """
    try:
        weights, head = load(parts["backbone"]), Head.from_arrays(load(parts["head"]))
        novelty = NoveltyRule.from_arrays(load(parts["novelty"])) if "novelty" in parts else None
        spec = BackboneSpec.from_json(description["spec"])
        labels = [one["label"] for one in description["classes"]]
        temperature = float(description["temperature"])
        graph = parts["graph"]
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise GraphMismatch(f"these parts do not make a served model: {error!r}") from error
    runtime = open_runtime(kind, graph, weights, threads=threads, device=device)
    try:
        return ServedModel(runtime, head, temperature, labels, novelty, spec)
    except ServingError:
        runtime.close()
        raise


def _softmax(logits_BC: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted_BC = logits_BC.astype(np.float64) - logits_BC.max(axis=1, keepdims=True)
    weights_BC = np.exp(shifted_BC)
    scores_BC: NDArray[np.float64] = weights_BC / weights_BC.sum(axis=1, keepdims=True)
    return scores_BC


def _best_columns(scores_BC: NDArray[np.float64], top_k: int) -> NDArray[np.intp]:
    """The columns of the best scores, best first; of equal scores the older class first."""
    count = min(max(top_k, 1), scores_BC.shape[1])
    return np.argsort(-scores_BC, axis=1, kind="stable")[:, :count]
