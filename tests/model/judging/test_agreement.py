"""Only a runtime that answers as the learner does may serve, and of those the fastest."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model.judging.agreement import REFERENCE, Agreement, Choice, choose, judge
from model.runtime import RuntimeKind, RuntimeUnavailable


def logits(margins: list[float]) -> NDArray[np.float32]:
    """Three classes, the first ahead of the second by these margins."""
    return np.array([[margin, 0.0, -5.0] for margin in margins], np.float32)


def flipped(values: NDArray[np.float32], images: list[int]) -> NDArray[np.float32]:
    other = values.copy()
    other[images] = other[images][:, [1, 0, 2]]
    return other


def agreement(kind: RuntimeKind, speed: float, *, accepted: bool = True, images: int = 400) -> Agreement:
    return Agreement(kind, images, 1.0 if accepted else 0.9, 0.0, speed, accepted)


def test_equal_answers_are_accepted() -> None:
    same = logits([2.0] * 300)
    assert judge("openvino-bf16", same, same + 0.01, images_per_s=9) == Agreement(
        "openvino-bf16", 300, 1.0, 0.0, 9, True
    )


def test_up_to_one_in_a_hundred_may_differ_where_the_margin_is_small() -> None:
    close = logits([0.05] * 400)
    assert judge("openvino-bf16", close, flipped(close, [0, 1, 2, 3]), images_per_s=1).accepted
    refused = judge("openvino-bf16", close, flipped(close, [0, 1, 2, 3, 4]), images_per_s=1)
    assert not refused.accepted and refused.top1_equal == pytest.approx(395 / 400)


def test_one_difference_at_a_wide_margin_is_refused() -> None:
    values = logits([0.05, 0.2] * 200)
    judged = judge("openvino-bf16", values, flipped(values, [0, 1]), images_per_s=1)
    assert not judged.accepted and judged.worst_margin_flip == pytest.approx(0.2)


def test_too_few_images_prove_nothing() -> None:
    few = logits([2.0] * 299)
    assert not judge("openvino-bf16", few, few, images_per_s=1).accepted
    none = judge("openvino-bf16", logits([]).reshape(0, 3), logits([]).reshape(0, 3), images_per_s=1)
    assert (none.images, none.top1_equal, none.accepted) == (0, 0.0, False)


def test_a_single_class_cannot_differ() -> None:
    one = np.ones((300, 1), np.float32)
    assert judge("onnxruntime", one, one * 2, images_per_s=1).accepted


def test_auto_takes_the_fastest_that_agrees_and_says_so() -> None:
    choice = choose(
        [
            agreement("onnxruntime", 60),
            agreement("openvino-fp32", 150),
            agreement("openvino-bf16", 300, accepted=False),
        ],
        asked="auto",
    )
    assert choice.kind == "openvino-fp32" and choice.settled
    assert choice.reason.startswith("the fastest that agrees: openvino-fp32 150 images/s")
    assert "openvino-bf16 300 images/s, same label on 90.0% of 400" in choice.reason


def test_the_reference_serves_until_enough_images_were_seen() -> None:
    choice = choose([agreement("openvino-bf16", 300, accepted=False, images=20)], asked="auto")
    assert choice.kind == REFERENCE and not choice.settled and "300 needed" in choice.reason
    assert choose([agreement("openvino-bf16", 300, accepted=False)], asked="auto").settled


def test_a_wish_is_granted_with_its_figures() -> None:
    tried = [agreement("onnxruntime", 60), agreement("openvino-bf16", 300, accepted=False)]
    choice = choose(tried, asked="openvino-bf16")
    assert choice.kind == "openvino-bf16" and choice.settled and "90.0%" in choice.reason
    with pytest.raises(RuntimeUnavailable, match="openvino-fp32"):
        choose(tried, asked="openvino-fp32")


def test_a_stored_choice_comes_back() -> None:
    choice = choose([agreement("onnxruntime", 60)], asked="auto")
    assert Choice.from_json(choice.to_json()) == choice
