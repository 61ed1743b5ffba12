import io
from pathlib import Path

import pytest
from PIL import Image

from everclass.demo.pictures import digits, folder, lessons
from everclass.images import LabelledImage


def test_the_digits_are_real_images_of_ten_classes() -> None:
    images = digits()
    assert len(images) == 1797
    assert {image.label for image in images} == set("0123456789")
    first = images[0].image
    assert isinstance(first, bytes)
    with Image.open(io.BytesIO(first)) as opened:
        assert (opened.format, opened.size) == ("PNG", (8, 8))
        assert opened.getextrema() == (0, 239)


def test_lessons_teach_four_fifths_and_ask_about_the_rest() -> None:
    plan = lessons(digits(), 5)
    assert [lesson.labels for lesson in plan] == [("0", "1"), ("2", "3"), ("4", "5"), ("6", "7"), ("8", "9")]
    names = [image.name for lesson in plan for image in lesson.taught + lesson.asked]
    assert len(names) == len(set(names)) == 1797
    assert 0.79 < sum(len(lesson.taught) for lesson in plan) / 1797 < 0.81
    assert plan == lessons(digits(), 5)


def test_classes_that_do_not_divide_evenly_are_all_dealt_out() -> None:
    images = [LabelledImage(label, bytes([n])) for label in "abcdefg" for n in range(2)]
    plan = lessons(images, 3)
    assert [label for lesson in plan for label in lesson.labels] == list("abcdefg")
    assert all(len(lesson.asked) >= 1 and len(lesson.taught) >= 1 for lesson in plan)


def test_what_cannot_be_dealt_out_is_said() -> None:
    two = [LabelledImage(label, b"") for label in "ab"]
    with pytest.raises(ValueError, match="2 classes cannot be learned as 3 tasks"):
        lessons(two, 3)
    with pytest.raises(ValueError, match="at least two tasks"):
        lessons(two, 1)
    with pytest.raises(ValueError, match="one to learn and one to ask about"):
        lessons(two, 2)


def test_a_folder_a_class_can_be_taught_instead(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [lesson.labels for lesson in lessons(folder(tmp_path), 2)] == [("cat",), ("dog",)]
