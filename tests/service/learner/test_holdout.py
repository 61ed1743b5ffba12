"""Held-out images are a fixed, bounded, class-wise choice."""

from dataclasses import dataclass

from service.learner.holdout import HeldBefore, HoldoutRule, split

RULE = HoldoutRule(fraction=0.1, per_class=50)


@dataclass(frozen=True)
class Picture:
    label: str
    pixel_digest: str
    split: str | None = None


def pictures(label: str, count: int) -> list[Picture]:
    return [Picture(label, f"{label}-{index}") for index in range(count)]


def held(images: list[Picture], splits: list[str]) -> dict[str, int]:
    chosen = [image.label for image, part in zip(images, splits, strict=True) if part == "held_out"]
    return {label: chosen.count(label) for label in {image.label for image in images}}


def test_a_tenth_of_each_class_and_one_of_small_ones() -> None:
    images = pictures("many", 100) + pictures("some", 5) + pictures("few", 4)
    assert held(images, split(images, HeldBefore(), RULE, 1)) == {"many": 10, "some": 1, "few": 0}


def test_a_class_never_has_more_than_its_share_over_all_tasks() -> None:
    images = pictures("a", 1_000)
    assert held(images, split(images, HeldBefore(), RULE, 1)) == {"a": 50}
    assert held(images, split(images, HeldBefore({"a": 47}), RULE, 1)) == {"a": 3}
    assert held(images, split(images, HeldBefore({"a": 50}), RULE, 1)) == {"a": 0}


def test_the_same_images_give_the_same_choice_in_any_order() -> None:
    images = pictures("a", 60)
    chosen = {
        i.pixel_digest for i, s in zip(images, split(images, HeldBefore(), RULE, 1), strict=True) if s == "held_out"
    }
    back = images[::-1]
    again = {i.pixel_digest for i, s in zip(back, split(back, HeldBefore(), RULE, 1), strict=True) if s == "held_out"}
    assert chosen == again
    other = {
        i.pixel_digest for i, s in zip(images, split(images, HeldBefore(), RULE, 2), strict=True) if s == "held_out"
    }
    assert chosen != other


def test_the_client_s_word_holds_for_the_whole_task() -> None:
    images = [Picture("a", "1", "held_out"), Picture("a", "2"), *pictures("b", 40)]
    assert split(images, HeldBefore(), RULE, 1) == ["held_out", *["train"] * 41]


def test_none_are_held_out_where_the_fraction_is_nothing() -> None:
    assert set(split(pictures("a", 40), HeldBefore(), HoldoutRule(0.0, 50), 1)) == {"train"}


def test_a_picture_held_out_before_goes_on_judging_when_it_is_sent_again() -> None:
    images = pictures("a", 4)
    assert split(images, HeldBefore(digests=frozenset({"a-2"})), RULE, 1) == ["train", "train", "held_out", "train"]
    named = [Picture("a", "1", "held_out"), Picture("a", "2", "train")]
    assert split(named, HeldBefore(digests=frozenset({"2"})), RULE, 1) == ["held_out", "held_out"]


def test_a_picture_that_was_learned_from_never_judges() -> None:
    images = pictures("a", 40)
    trained = frozenset(image.pixel_digest for image in images[:38])
    parts = split(images, HeldBefore(trained=trained), HoldoutRule(0.5, 50), 1)
    assert set(parts[:38]) == {"train"}
    named = [Picture("a", "old", "held_out"), Picture("a", "new", "held_out")]
    assert split(named, HeldBefore(trained=frozenset({"old"})), RULE, 1) == ["train", "held_out"]
