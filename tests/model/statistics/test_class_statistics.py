"""Statistics are those of all the data at once, whatever the order or the number of parts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.statistics.class_statistics import ClassStatistics, StatisticsAccumulator

D = 12


def features(count: int, seed: int = 0, dimension: int = D) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, dimension)) @ rng.standard_normal((dimension, dimension)) + 5).astype(
        np.float32
    )


def of_one_class(count: int) -> ClassStatistics:
    return ClassStatistics.from_features(features(count), np.zeros(count, np.int64), 1)


def assert_describes(statistics: ClassStatistics, column: int, features_ND: np.ndarray) -> None:
    wide_ND = features_ND.astype(np.float64)
    assert statistics.count_C[column] == len(features_ND)
    np.testing.assert_allclose(statistics.mean_CD[column], wide_ND.mean(axis=0), rtol=1e-5)
    expected_DD = np.cov(wide_ND, rowvar=False, ddof=1)
    np.testing.assert_allclose(statistics.covariance(column), expected_DD, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [2, 5, D, D + 1, 2 * D + 3, 200])
def test_a_class_has_the_mean_and_unbiased_covariance_of_its_images(count: int) -> None:
    features_ND = features(count)
    statistics = ClassStatistics.from_features(features_ND, np.zeros(count, np.int64), 1)
    assert_describes(statistics, 0, features_ND)


@pytest.mark.parametrize(("count", "rows"), [(1, 0), (2, 1), (5, 4), (D, D - 1), (D + 1, D), (200, D)])
def test_a_factor_has_a_row_less_than_images_and_never_more_than_dimensions(count: int, rows: int) -> None:
    statistics = ClassStatistics.from_features(features(count), np.zeros(count, np.int64), 1)
    assert statistics.factors[0].shape == (rows, D)
    assert statistics.factors[0].dtype == np.float32


def test_one_image_has_a_mean_and_no_covariance() -> None:
    features_1D = features(1)
    statistics = ClassStatistics.from_features(features_1D, np.zeros(1, np.int64), 1)
    np.testing.assert_array_equal(statistics.mean_CD, features_1D)
    assert not statistics.covariance(0).any()


@pytest.mark.parametrize("count", [2, 5, 40])
def test_each_view_of_an_image_weighs_its_part_and_the_image_counts_once(count: int) -> None:
    first_ND, second_ND = features(count), features(count, 1)
    statistics = ClassStatistics.from_features(first_ND, np.zeros(count, np.int64), 1, second_ND)
    both_ND = np.concatenate([first_ND, second_ND]).astype(np.float64)
    assert statistics.count_C.tolist() == [count]
    np.testing.assert_allclose(statistics.mean_CD[0], both_ND.mean(axis=0), rtol=1e-5)
    centred_ND = both_ND - both_ND.mean(axis=0)
    expected_DD = centred_ND.T @ centred_ND / 2 / (count - 1)
    found_DD = statistics.covariance(0)
    assert len(statistics.factors[0]) == min(count - 1, D)
    np.testing.assert_allclose(np.trace(found_DD), np.trace(expected_DD), rtol=1e-5)
    variance_D, direction_DD = np.linalg.eigh(expected_DD)
    along_D = np.einsum("di,de,ei->i", direction_DD, found_DD, direction_DD)[::-1]
    kept = min(count - 1, D)
    lengthened = variance_D.sum() / variance_D[::-1][:kept].sum()
    np.testing.assert_allclose(along_D[:kept], variance_D[::-1][:kept] * lengthened, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(along_D[kept:], 0, atol=1e-3)


def test_the_same_view_twice_says_nothing_new() -> None:
    plain = of_one_class(7)
    twice = ClassStatistics.from_features(features(7), np.zeros(7, np.int64), 1, features(7))
    np.testing.assert_allclose(twice.covariance(0), plain.covariance(0), rtol=1e-5, atol=1e-5)


def test_images_that_are_all_alike_have_no_variance_in_two_views() -> None:
    alike_ND = np.repeat(features(1), 4, axis=0)
    statistics = ClassStatistics.from_features(alike_ND, np.zeros(4, np.int64), 1, alike_ND)
    np.testing.assert_allclose(statistics.covariance(0), 0, atol=1e-6)


def test_one_image_has_no_covariance_however_it_was_seen() -> None:
    statistics = ClassStatistics.from_features(features(1), np.zeros(1, np.int64), 1, features(1, 1))
    np.testing.assert_allclose(statistics.mean_CD[0], (features(1) + features(1, 1))[0] / 2, rtol=1e-6)
    assert statistics.factors[0].shape == (0, D)


def test_views_of_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="for 7 images"):
        ClassStatistics.from_features(features(7), np.zeros(7, np.int64), 1, features(6))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 25), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_parts_in_any_order_make_the_whole(sizes: list[int], random) -> None:  # type: ignore[no-untyped-def]
    parts = [features(size, seed) for seed, size in enumerate(sizes)]
    whole_ND = np.concatenate([*parts, features(3, 99)])
    random.shuffle(parts)
    merged = ClassStatistics.from_features(features(3, 99), np.zeros(3, np.int64), 1)
    accumulator = StatisticsAccumulator(D, 1)
    for part_ND in [*parts, features(3, 99)]:
        accumulator.add(part_ND, np.zeros(len(part_ND), np.int64))
    for part_ND in parts:
        merged = ClassStatistics.from_features(part_ND, np.zeros(len(part_ND), np.int64), 1).merged(merged)
    assert_describes(merged, 0, whole_ND)
    assert_describes(accumulator.finish(), 0, whole_ND)


def test_classes_merge_by_column_and_longer_statistics_bring_new_ones() -> None:
    first, again, new = features(8, 1), features(9, 2), features(7, 3)
    known = ClassStatistics.from_features(first, np.zeros(8, np.int64), 1)
    both = np.concatenate([again, new]), np.repeat([0, 2], [9, 7])
    merged = known.merged(ClassStatistics.from_features(*both, 3))
    assert_describes(merged, 0, np.concatenate([first, again]))
    assert_describes(merged, 2, new)
    assert merged.count_C[1] == 0 and len(merged.factors[1]) == 0


def test_digits_survive_a_mean_far_from_zero() -> None:
    features_ND = features(50).astype(np.float64) + 1e6
    statistics = ClassStatistics.from_features(features_ND, np.zeros(50, np.int64), 1)
    np.testing.assert_allclose(statistics.covariance(0), np.cov(features_ND, rowvar=False), rtol=1e-4, atol=1e-3)


def test_the_pooled_covariance_weighs_classes_by_their_degrees_of_freedom() -> None:
    sizes = [4, 30, 1, 2]
    parts = [features(size, seed) for seed, size in enumerate(sizes, start=1)]
    statistics = ClassStatistics.from_features(np.concatenate(parts), np.repeat(np.arange(4), sizes), 4)
    sums_DD = [(size - 1) * np.cov(part, rowvar=False) for size, part in zip(sizes, parts, strict=True) if size > 1]
    np.testing.assert_allclose(statistics.pooled_covariance(), sum(sums_DD) / 33, rtol=1e-3, atol=1e-3)
    assert statistics.freedom == 33


def test_samples_have_the_mean_and_the_ridged_covariance() -> None:
    statistics = ClassStatistics.from_features(features(6), np.zeros(6, np.int64), 1)
    drawn_ND, columns_N = statistics.sample(200_000, np.random.default_rng(0), ridge=0.5)
    expected_DD = statistics.covariance(0) + 0.5 * np.eye(D)
    scale = np.abs(expected_DD).max()
    np.testing.assert_allclose(np.cov(drawn_ND, rowvar=False) / scale, expected_DD / scale, atol=0.02)
    np.testing.assert_allclose(drawn_ND.mean(axis=0), statistics.mean_CD[0], atol=0.1)
    assert set(columns_N) == {0}


def test_classes_without_images_are_not_sampled() -> None:
    statistics = ClassStatistics.from_features(features(6), np.full(6, 1), 3)
    _, columns_N = statistics.sample(4, np.random.default_rng(0), ridge=0.1)
    assert columns_N.tolist() == [1, 1, 1, 1]
    assert len(ClassStatistics.empty(D, 2).sample(4, np.random.default_rng(0), ridge=0.1)[0]) == 0


def test_a_removed_class_leaves_the_others_as_they_were() -> None:
    parts = [features(5, 1), features(6, 2), features(7, 3)]
    statistics = ClassStatistics.from_features(np.concatenate(parts), np.repeat([0, 1, 2], [5, 6, 7]), 3).without(1)
    assert statistics.class_count == 2
    assert_describes(statistics, 1, parts[2])


@pytest.mark.parametrize("count", [1, 3, 8, 40])
def test_statistics_cut_to_the_first_numbers_are_those_of_features_cut_so(count: int) -> None:
    features_ND, columns_N = features(count + 5), np.repeat([0, 2], [count, 5])
    whole = replace(ClassStatistics.from_features(features_ND, columns_N, 3), drift_error_C=np.full(3, 0.5, np.float32))
    cut, expected = whole.leading(4), ClassStatistics.from_features(features_ND[:, :4], columns_N, 3)
    assert (cut.dimension, cut.class_count, cut.freedom) == (4, 3, whole.freedom)
    np.testing.assert_array_equal(cut.count_C, expected.count_C)
    np.testing.assert_array_equal(cut.mean_CD, expected.mean_CD)
    np.testing.assert_array_equal(cut.drift_error_C, whole.drift_error_C)
    np.testing.assert_allclose(cut.covariance(0), expected.covariance(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(cut.pooled_covariance(), expected.pooled_covariance(), rtol=1e-4, atol=1e-4)


def test_statistics_are_cut_to_no_more_numbers_than_there_are() -> None:
    statistics = of_one_class(5)
    assert statistics.leading(D) is statistics
    assert ClassStatistics.empty(D, 2).leading(3).dimension == 3
    for length in (0, D + 1):
        with pytest.raises(ValueError, match=f"no first {length}"):
            statistics.leading(length)


def test_stored_statistics_read_back_bit_for_bit() -> None:
    statistics = ClassStatistics.from_features(features(20), np.repeat([0, 2], 10), 3)
    back = ClassStatistics.from_arrays(statistics.to_arrays())
    for name, array in statistics.to_arrays().items():
        np.testing.assert_array_equal(back.to_arrays()[name], array)
    assert ClassStatistics.from_arrays(ClassStatistics.empty(D).to_arrays()).class_count == 0


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    arrays = ClassStatistics.from_features(features(20), np.repeat([0, 1], 10), 2).to_arrays()
    with pytest.raises(ValueError, match="factor rows"):
        ClassStatistics.from_arrays({**arrays, "factor_RD": arrays["factor_RD"][:-1]})
    with pytest.raises(ValueError, match="numbers of classes"):
        ClassStatistics.from_arrays({**arrays, "count_C": arrays["count_C"][:1]})


@pytest.mark.parametrize(
    "bad", [np.full((2, D), np.nan), np.full((2, D), np.inf), np.zeros((2, D + 1)), np.zeros((3, D))]
)
def test_features_that_are_not_numbers_or_of_another_shape_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="feature"):
        StatisticsAccumulator(D, 1).add(bad, np.zeros(2, np.int64))


@pytest.mark.parametrize("views", [1, 2])
def test_fifty_images_take_a_tenth_of_a_full_covariance(views: int) -> None:
    first_ND, *others_ND = [features(50, seed, dimension=768) for seed in range(views)]
    statistics = ClassStatistics.from_features(first_ND, np.zeros(50, np.int64), 1, *others_ND)
    assert 10 * statistics.factors[0].nbytes <= 768 * 768 * 4


def test_a_drift_error_is_kept_and_shrinks_as_new_images_come() -> None:
    carried = replace(of_one_class(30), drift_error_C=np.array([0.6], np.float32))
    again = ClassStatistics.from_arrays(carried.to_arrays())
    np.testing.assert_array_equal(again.drift_error_C, carried.drift_error_C)
    np.testing.assert_allclose(again.merged(of_one_class(60)).drift_error_C, [0.2])


def test_statistics_of_versions_that_name_no_drift_error_have_none() -> None:
    arrays = of_one_class(5).to_arrays()
    del arrays["drift_error_C"]
    np.testing.assert_array_equal(ClassStatistics.from_arrays(arrays).drift_error_C, [0])
