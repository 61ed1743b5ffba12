"""What is seen of images in several views, and which of it is whose."""

import numpy as np

from model.backbones.seen import PairedFeatures, Seen


def rows(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)


SEEN = Seen(rows(3, 0), {"middle": rows(3, 1), "turned": rows(3, 2)})


def test_statistics_are_of_the_evaluation_view_and_the_middle() -> None:
    first_ND, second_ND = SEEN.of_statistics
    assert first_ND is SEEN.features_ND and second_ND is SEEN.others["middle"]
    assert [len(Seen(rows(2, 3)).of_statistics), len(SEEN.only({"turned"}).of_statistics)] == [1, 1]


def test_drift_is_of_the_evaluation_view_and_the_turned_one_where_both_backbones_saw_it() -> None:
    before, columns_N = Seen(rows(3, 4), {"turned": rows(3, 5)}), np.array([7, 7, 8])
    old_ND, new_ND, twice_N = PairedFeatures(before, SEEN).of_drift(columns_N)
    np.testing.assert_array_equal(old_ND, np.concatenate([before.features_ND, before.others["turned"]]))
    np.testing.assert_array_equal(new_ND, np.concatenate([SEEN.features_ND, SEEN.others["turned"]]))
    assert twice_N.tolist() == [7, 7, 8, 7, 7, 8]
    old_ND, new_ND, once_N = PairedFeatures(Seen(rows(3, 4)), SEEN).of_drift(columns_N)
    np.testing.assert_array_equal(new_ND, SEEN.features_ND)
    assert len(old_ND) == 3 and once_N.tolist() == [7, 7, 8]


def test_what_a_tuner_puts_behind_the_features_is_cut_off_in_every_view() -> None:
    cut = SEEN.cut(2)
    np.testing.assert_array_equal(cut.features_ND, SEEN.features_ND[:, :2])
    assert {name: view.shape for name, view in cut.others.items()} == {"middle": (3, 2), "turned": (3, 2)}
