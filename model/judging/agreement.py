"""Which runtime may serve: the fastest one whose answers are the learner's own. Pure figures, nothing is run here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from model.runtime.interface import RuntimeKind, RuntimeUnavailable

FEWEST_IMAGES: Final = 300
"""Images that a judgement needs."""

LEAST_TOP1_EQUAL: Final = 0.99
"""Rate of images on which the best class must be the learner's."""

WIDEST_FLIP: Final = 0.1
"""Margin, in logits of the learner between its two best classes, above which the best class must never differ."""

REFERENCE: Final[RuntimeKind] = "onnxruntime"
"""What serves where no other runtime could be judged: fp32, and the same kernels everywhere."""


@dataclass(frozen=True)
class Agreement:
    """How one runtime's answers compare with the learner's.

    `top1_equal` is the rate of images with the same best class, `worst_margin_flip` the widest of the learner's margins
    among the others (0 where there is none). `accepted` says whether it may be chosen.
    """

    runtime: RuntimeKind
    images: int
    top1_equal: float
    worst_margin_flip: float
    images_per_s: float
    accepted: bool


@dataclass(frozen=True)
class Choice:
    """The runtime that serves, and why, in words. `settled` is false where more images could change it.

    `exceptions` are versions, by their manifests' digests, that it answers otherwise than the learner, and what serves
    them instead.
    """

    kind: RuntimeKind
    reason: str
    settled: bool
    agreements: tuple[Agreement, ...]
    exceptions: Mapping[str, RuntimeKind] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The choice as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Choice":
        """The choice that `to_json` wrote."""
        agreements = tuple(Agreement(**one) for one in value["agreements"])
        return cls(value["kind"], value["reason"], value["settled"], agreements, value.get("exceptions", {}))


def judge(
    runtime: RuntimeKind,
    reference_NC: NDArray[np.float32],
    logits_NC: NDArray[np.float32],
    *,
    images_per_s: float,
) -> Agreement:
    """Compare a runtime's logits with the learner's on the same images."""
    differs_N = reference_NC.argmax(axis=1) != logits_NC.argmax(axis=1)
    images, flips_N = len(reference_NC), _margins(reference_NC)[differs_N]
    equal = 1 - len(flips_N) / images if images else 0.0
    worst = float(flips_N.max(initial=0.0))
    accepted = images >= FEWEST_IMAGES and equal >= LEAST_TOP1_EQUAL and worst <= WIDEST_FLIP
    return Agreement(runtime, images, equal, worst, images_per_s, accepted)


def choose(agreements: Sequence[Agreement], *, asked: RuntimeKind | Literal["auto"]) -> Choice:
    """`auto`: the fastest that was accepted, else `REFERENCE`. Other wishes are granted, with their figures.

    Raises `RuntimeUnavailable` where what was asked for is not among the runtimes that were tried.
    """
    tried = tuple(agreements)
    if asked != "auto":
        found = next((one for one in tried if one.runtime == asked), None)
        if found is None:
            raise RuntimeUnavailable(f"{asked} was asked for but cannot run here")
        return Choice(asked, f"asked for; {_in_words(found)}", True, tried)
    accepted = [one for one in tried if one.accepted]
    if not accepted:
        judged = all(one.images >= FEWEST_IMAGES for one in tried)
        return Choice(REFERENCE, f"none was accepted: {'; '.join(map(_in_words, tried))}", judged, tried)
    fastest = max(accepted, key=lambda one: one.images_per_s)
    others = [_in_words(one) for one in tried if one is not fastest]
    reason = "; ".join([f"the fastest that agrees: {_in_words(fastest)}", *others])
    return Choice(fastest.runtime, reason, True, tried)


def _margins(logits_NC: NDArray[np.float32]) -> NDArray[np.float32]:
    if logits_NC.shape[1] < 2:
        return np.zeros(len(logits_NC), np.float32)
    best_N2 = np.partition(logits_NC, -2, axis=1)[:, -2:]
    return best_N2[:, 1] - best_N2[:, 0]


def _in_words(one: Agreement) -> str:
    figures = f"{one.runtime} {one.images_per_s:.0f} images/s, same label on {one.top1_equal:.1%} of {one.images}"
    if one.images < FEWEST_IMAGES:
        return f"{figures} ({FEWEST_IMAGES} needed)"
    return figures if one.accepted else f"{figures}, differs up to a margin of {one.worst_margin_flip:.3g}"
