"""The head is a plain linear map whose rows can be taken out and put back."""

import numpy as np
import pytest

from model.heads.head import Head


def random_head(classes: int, seed: int = 0) -> Head:
    random = np.random.default_rng(seed)
    return Head(random.normal(size=(classes, 4)), random.normal(size=classes))


def test_logits_are_the_dot_products_plus_the_biases() -> None:
    head, features = random_head(3), np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    logits = head.logits(features)
    expected = [
        [float(row @ feature + bias) for row, bias in zip(head.weight_CD, head.bias_C, strict=True)]
        for feature in features
    ]
    np.testing.assert_allclose(logits, expected, rtol=1e-5)
    assert logits.dtype == np.float32


def test_numbers_of_any_type_become_float32() -> None:
    head = Head(np.ones((2, 3)), np.zeros(2, int))
    assert head.weight_CD.dtype == head.bias_C.dtype == np.float32
    assert (head.class_count, head.feature_dim) == (2, 3)


@pytest.mark.parametrize(("weights", "biases"), [((2, 3), (3,)), ((6,), (6,)), ((2, 3), (2, 1))])
def test_shapes_that_do_not_belong_together_are_refused(weights: tuple[int, ...], biases: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="head"):
        Head(np.zeros(weights), np.zeros(biases))


def test_heads_stack_in_order_and_an_empty_one_adds_nothing() -> None:
    first, second = random_head(2), random_head(3, seed=1)
    whole = Head.stack([Head.empty(4), first, second])
    np.testing.assert_array_equal(whole.rows([0, 1]).weight_CD, first.weight_CD)
    np.testing.assert_array_equal(whole.rows(range(2, 5)).bias_C, second.bias_C)


def test_rows_are_written_into_a_copy() -> None:
    head, new = random_head(4), random_head(2, seed=9)
    written = head.with_rows([3, 1], new)
    np.testing.assert_array_equal(written.rows([3, 1]).weight_CD, new.weight_CD)
    np.testing.assert_array_equal(written.rows([0, 2]).weight_CD, head.rows([0, 2]).weight_CD)
    np.testing.assert_array_equal(head.weight_CD, random_head(4).weight_CD)


def test_a_stored_head_comes_back() -> None:
    head = random_head(3)
    again = Head.from_arrays(head.to_arrays())
    np.testing.assert_array_equal(again.weight_CD, head.weight_CD)
    np.testing.assert_array_equal(again.bias_C, head.bias_C)
