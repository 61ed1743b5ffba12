"""Classes that differ in how they are spread are told apart by that too; where all are alike nothing is added."""

from dataclasses import replace

import numpy as np
import pytest

from model.aligners import GaussianAligner
from model.heads.alignment import AlignmentPlan
from model.heads.closed_form import RowScale, linear_discriminant
from model.heads.head import Head
from model.heads.spread import Spread
from model.heads.spread_plan import SpreadPlan, leading_directions
from model.method import AlignmentTask
from model.methods import UnknownMethod, method_named
from model.scores.confidence import SampledFit
from model.statistics.class_statistics import ClassStatistics
from model.statistics.shrinkage import shared_covariance

ALL = SpreadPlan(of_dimension=0, part=1, directions=99)


def drawn(count: int = 400, dimension: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Features of three classes, each with a mean and a covariance of its own, and their columns."""
    rng = np.random.default_rng(0)
    columns_N = np.repeat(np.arange(3), count)
    roots = [np.eye(dimension) * size + 0.3 * rng.standard_normal((dimension, dimension)) for size in (0.5, 1.0, 2.0)]
    means = rng.standard_normal((3, dimension))
    features = [means[c] + rng.standard_normal((count, dimension)) @ roots[c] for c in range(3)]
    return np.concatenate(features).astype(np.float32), columns_N


def statistics(count: int = 400) -> ClassStatistics:
    features_ND, columns_N = drawn(count)
    return ClassStatistics.from_features(features_ND, columns_N, 3)


def test_whole_and_undrawn_it_makes_a_discriminant_quadratic() -> None:
    known, features_ND = statistics(), drawn()[0]
    head = linear_discriminant(known)
    found_NC = Head(head.weight_CD, head.bias_C, ALL.made(known, shared_covariance(known), scale=1.0)).logits(
        features_ND
    )
    expected_NC = np.zeros_like(found_NC)
    for c in range(3):
        off_ND = features_ND - known.mean_CD[c]
        covariance_DD = known.covariance(c)
        distance_N = (off_ND @ np.linalg.inv(covariance_DD) * off_ND).sum(axis=1)
        expected_NC[:, c] = -0.5 * distance_N - 0.5 * np.linalg.slogdet(covariance_DD)[1]
    difference_NC = found_NC - expected_NC
    spreads_N = difference_NC.max(axis=1) - difference_NC.min(axis=1)
    assert spreads_N.max() < 1e-2 * np.abs(expected_NC).mean()


def test_part_and_scale_multiply_the_term() -> None:
    known, features_ND = statistics(), drawn()[0]
    whole, some = (
        ALL.made(known, shared_covariance(known), scale=1.0),
        replace(ALL, part=0.25).made(known, shared_covariance(known), scale=0.5),
    )
    np.testing.assert_allclose(some.added(features_ND), whole.added(features_ND) / 8, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [1.0, 10.0])
def test_beside_aligned_rows_it_counts_as_much_as_these_do_beside_the_discriminants(length: float) -> None:
    known, (features_ND, columns_N) = statistics(), drawn()
    rows = Head(length * np.random.default_rng(1).standard_normal((3, 6)), np.zeros(3))
    task = AlignmentTask(rows, known, np.array([1, 1, 2]), 2, features_ND, columns_N, {}, 0)
    plain = GaussianAligner(AlignmentPlan(epochs=1))
    head = replace(plain, spread=ALL).align(task).head
    np.testing.assert_array_equal(head.weight_CD, plain.align(task).head.weight_CD)
    scale = RowScale.of(head).mean_length / RowScale.of(linear_discriminant(known)).mean_length
    assert head.spread is not None
    expected = ALL.made(known, shared_covariance(known), scale)
    np.testing.assert_allclose(head.spread.gain_CR, expected.gain_CR, rtol=1e-5)
    np.testing.assert_allclose(head.spread.constant_C, expected.constant_C, rtol=1e-5)


def test_the_directions_of_greatest_variance_are_kept() -> None:
    known = statistics()
    whole, leading = (
        ALL.made(known, shared_covariance(known), scale=1.0),
        replace(ALL, directions=2).made(known, shared_covariance(known), scale=1.0),
    )
    assert leading.direction_CRD.shape == (3, 2, 6)
    np.testing.assert_allclose(
        np.abs((leading.direction_CRD @ shared_covariance(known) * whole.direction_CRD[:, :2]).sum(axis=2)),
        1,
        atol=1e-3,
    )
    assert (np.diff(whole.gain_CR, axis=1) <= 0).all()
    shared_DD = shared_covariance(known)
    for direction_RD in whole.direction_CRD:
        np.testing.assert_allclose(direction_RD @ shared_DD @ direction_RD.T, np.eye(6), atol=1e-3)


@pytest.mark.parametrize("rows", [20, 300, 400])
def test_leading_directions_are_those_of_a_whole_decomposition(rows: int) -> None:
    rng = np.random.default_rng(4)
    factor_RD = rng.standard_normal((rows, 40)) * np.geomspace(8, 0.1, 40)
    white_DD = np.triu(rng.standard_normal((40, 40))) * 0.1 + np.eye(40)
    variance_K, direction_KD = leading_directions(factor_RD, white_DD, 6)
    _, deviation_R, whole_RD = np.linalg.svd(factor_RD @ white_DD, full_matrices=False)
    np.testing.assert_allclose(variance_K, deviation_R[:6] ** 2, rtol=1e-4)
    np.testing.assert_allclose(np.abs((direction_KD * whole_RD[:6]).sum(axis=1)), 1, atol=1e-3)


def test_directions_in_which_no_image_differs_are_left_out() -> None:
    flat_RD = np.zeros((3, 5))
    flat_RD[0, 1] = 2.0
    variance_K, direction_KD = leading_directions(flat_RD, np.eye(5), 3)
    assert variance_K == pytest.approx([4.0]) and np.abs(direction_KD) == pytest.approx(np.eye(5)[[1]])
    assert [len(one) for one in leading_directions(np.zeros((0, 5)), np.eye(5), 3)] == [0, 0]


def test_many_classes_have_fewer_directions_each() -> None:
    made = replace(ALL, directions=4, directions_in_all=7).made(
        statistics(), shared_covariance(statistics()), scale=1.0
    )
    assert made.direction_CRD.shape == (3, 2, 6)
    least = replace(ALL, directions_in_all=1).made(statistics(), shared_covariance(statistics()), scale=1.0)
    assert least.direction_CRD.shape == (3, 1, 6)


def test_few_images_say_little_of_their_spread_and_one_nothing() -> None:
    features_ND, columns_N = drawn()
    gains = []
    for count in (1, 5, 50):
        rows = np.concatenate([np.flatnonzero(columns_N == 0)[:count], np.flatnonzero(columns_N > 0)])
        known = ClassStatistics.from_features(features_ND[rows], columns_N[rows], 3)
        spread = SpreadPlan(of_dimension=20).made(known, shared_covariance(known), scale=1.0)
        gains.append(float(np.abs(spread.gain_CR[0]).max()))
        assert np.isfinite(spread.constant_C).all()
    assert gains[0] == 0 and gains[1] < gains[2]
    alone = ClassStatistics.from_features(features_ND[:1], columns_N[:1], 1)
    assert SpreadPlan().made(alone, shared_covariance(alone), scale=1.0).added(features_ND[:2]).tolist() == [
        [0.0],
        [0.0],
    ]


def test_many_features_go_through_in_parts() -> None:
    rng = np.random.default_rng(1)
    shapes = ((50, 16, 3), (50, 16), (50, 16), (50,))
    spread = Spread(*(rng.standard_normal(shape).astype(np.float32) for shape in shapes))
    features_ND = rng.standard_normal((6_000, 3)).astype(np.float32)
    added_NC = spread.added(features_ND)
    np.testing.assert_allclose(added_NC[[0, 5_999]], spread.added(features_ND[[0, 5_999]]), rtol=1e-4, atol=1e-4)
    one = sum(
        gain * (features_ND[7] @ direction - offset) ** 2
        for direction, offset, gain in zip(spread.direction_CRD[4], spread.offset_CR[4], spread.gain_CR[4], strict=True)
    )
    assert added_NC[7, 4] == pytest.approx(one + spread.constant_C[4], rel=1e-3)


def test_a_head_keeps_its_spread_in_rows_and_arrays() -> None:
    known, features_ND = statistics(), drawn()[0][:5]
    spread, linear = SpreadPlan().made(known, shared_covariance(known), scale=1.0), linear_discriminant(known)
    head = Head(linear.weight_CD, linear.bias_C, spread)
    assert head.linear.spread is None and np.array_equal(head.linear.logits(features_ND), linear.logits(features_ND))
    again = Head.from_arrays(head.to_arrays())
    np.testing.assert_array_equal(again.logits(features_ND), head.logits(features_ND))
    np.testing.assert_allclose(head.rows([2, 0]).logits(features_ND), head.logits(features_ND)[:, [2, 0]], rtol=1e-5)
    assert set(linear.to_arrays()) == {"weight_CD", "bias_C"} and Head.from_arrays(linear.to_arrays()).spread is None
    with pytest.raises(ValueError, match="cannot have a spread"):
        Head(linear.weight_CD[:2], linear.bias_C[:2], spread)
    with pytest.raises(ValueError, match="cannot have offsets"):
        Spread(spread.direction_CRD, spread.offset_CR[:2], spread.gain_CR, spread.constant_C)


def test_an_aligned_head_tells_apart_what_only_differs_in_spread() -> None:
    rng = np.random.default_rng(2)
    columns_N = np.repeat([0, 1], 600)
    features_ND = rng.standard_normal((1_200, 4)) * np.where(columns_N == 0, 0.3, 3.0)[:, None]
    known = ClassStatistics.from_features(features_ND.astype(np.float32), columns_N, 2)
    head = Head(rng.standard_normal((2, 4)).astype(np.float32), np.zeros(2, np.float32))
    nothing_ND = np.zeros((0, 4), np.float32)
    task = AlignmentTask(head, known, np.array([1, 2]), 2, nothing_ND, np.zeros(0, np.int64), {}, 1)

    def right(plan: SpreadPlan | None) -> float:
        made = GaussianAligner(start="discriminant", spread=plan).align(task).head
        return float((made.logits(features_ND.astype(np.float32)).argmax(axis=1) == columns_N).mean())

    assert right(None) < 0.65 and right(SpreadPlan()) > 0.85


def test_whoever_waits_may_stop_it() -> None:
    features_ND = np.random.default_rng(3).standard_normal((60, 4)).astype(np.float32)
    known = ClassStatistics.from_features(features_ND, np.repeat(np.arange(20), 3), 20)
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) > 9:
            raise Stopped

    with pytest.raises(Stopped):
        SpreadPlan().made(known, shared_covariance(known), 1.0, check)


class Stopped(Exception):
    pass


def test_without_held_out_images_the_temperature_is_that_of_the_rows_alone() -> None:
    known = statistics()
    linear = linear_discriminant(known)
    head = Head(linear.weight_CD, linear.bias_C, ALL.made(known, shared_covariance(known), scale=1.0))
    assert SampledFit.of(head, known, seed=1).temperature == SampledFit.of(linear, known, seed=1).temperature


def test_it_stands_beside_aligned_heads_alone() -> None:
    aligner = method_named("slca+spread").aligner
    assert isinstance(aligner, GaussianAligner) and aligner.spread == SpreadPlan()
    assert method_named("slca+++drift+warm+spread").refusals() == []
    for name in ("sl+spread", "lda+spread"):
        with pytest.raises(UnknownMethod, match="sampled features align"):
            method_named(name)
