"""The judging images are balanced over classes, and their features are computed once for a backbone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from service.learner.heldout import KEPT_FILES, FeatureCache, HeldOutImage, balanced
from stream.tasks import Item


def image(label: str, number: int) -> HeldOutImage:
    return HeldOutImage("t", Item(number, "0" * 64, label, "held_out", 1, f"{label}{number:03}", None))


def test_classes_take_turns_until_the_limit() -> None:
    images = [image("a", n) for n in range(9, 0, -1)] + [image("b", n) for n in range(2)]
    chosen = [(one.item.label, one.item.pixel_digest) for one in balanced(images, 5)]
    assert chosen == [("a", "a001"), ("b", "b000"), ("a", "a002"), ("b", "b001"), ("a", "a003")]
    assert len(balanced(images, 100)) == 11
    assert balanced([], 5) == []


class Counting:
    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def __call__(self, indices: Sequence[int]) -> np.ndarray:
        self.asked.append(list(indices))
        return np.array([[float(index), 1.0] for index in indices], dtype=np.float32).reshape(-1, 2)


def test_a_backbone_computes_each_image_once(tmp_path: Path) -> None:
    cache, compute = FeatureCache(tmp_path), Counting()
    first_ND = cache.features("bb", ["x", "y"], compute)
    second_ND = FeatureCache(tmp_path).features("bb", ["y", "z", "x"], compute)
    assert compute.asked == [[0, 1], [1]]
    assert first_ND.tolist() == [[0, 1], [1, 1]]
    assert second_ND.tolist() == [[1, 1], [1, 1], [0, 1]]
    cache.features("other", ["x"], compute)
    assert compute.asked[-1] == [0]


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    cache, compute = FeatureCache(tmp_path), Counting()
    cache.features("bb", ["x"], compute)
    (tmp_path / "bb.safetensors").write_bytes(b"nothing of the kind")
    assert cache.features("bb", ["x"], compute).tolist() == [[0, 1]]
    assert compute.asked == [[0], [0]]


def test_only_the_newest_files_are_kept(tmp_path: Path) -> None:
    cache, compute = FeatureCache(tmp_path), Counting()
    for number in range(KEPT_FILES + 3):
        cache.features(f"bb{number}", ["x"], compute)
    assert len(list(tmp_path.iterdir())) == KEPT_FILES


def test_no_images_have_no_features(tmp_path: Path) -> None:
    assert FeatureCache(tmp_path).features("bb", [], Counting()).shape == (0, 2)
