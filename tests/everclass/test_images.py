import shutil
from pathlib import Path

import pytest

from everclass import images
from everclass.images import LabelledImage, batches, folder_images, portions
from stream.sources import read_archive


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 10)
    return path


def test_a_folder_a_class_becomes_labelled_files_in_order(tmp_path: Path) -> None:
    for name in (
        "dog/b.JPG",
        "dog/a.png",
        "pets/cat/c.webp",
        "dog/.hidden.png",
        ".git/x",
        "__MACOSX/dog/a",
        "dog/Thumbs.db",
    ):
        touch(tmp_path / name)
    assert [(image.label, image.name) for image in folder_images(tmp_path)] == [
        ("dog", "dog/a.png"),
        ("dog", "dog/b.JPG"),
        ("cat", "pets/cat/c.webp"),
    ]


def test_a_folder_is_read_as_a_server_reads_an_archive_of_it(tmp_path: Path) -> None:
    for name in (
        "dog/b.JPG",
        "pets/cat/deep/c.webp",
        "dog/.hidden.png",
        "__MACOSX/dog/a",
        "dog/Thumbs.db",
        "dog/notes.txt",
    ):
        touch(tmp_path / "tree" / name)
    archive = shutil.make_archive(str(tmp_path / "tree"), "zip", tmp_path / "tree")
    here = {(image.name, image.label) for image in folder_images(tmp_path / "tree")}
    assert here == {(item.name, item.label) for item in read_archive(Path(archive))}


def test_a_folder_without_classes_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one folder a class is needed"):
        list(folder_images(tmp_path))
    touch(tmp_path / "alone.png")
    with pytest.raises(ValueError, match=r"alone\.png lies in no folder"):
        list(folder_images(tmp_path))
    with pytest.raises(NotADirectoryError):
        list(folder_images(tmp_path / "alone.png"))


def test_links_to_folders_and_files_are_followed_and_circles_named(tmp_path: Path) -> None:
    touch(tmp_path / "store" / "felines" / "a.png")
    touch(tmp_path / "one.png")
    lesson = tmp_path / "lesson"
    (lesson / "dog").mkdir(parents=True)
    (lesson / "cat").symlink_to(tmp_path / "store" / "felines")
    (lesson / "dog" / "b.png").symlink_to(tmp_path / "one.png")
    assert [(image.label, image.name) for image in folder_images(lesson)] == [
        ("cat", "cat/a.png"),
        ("dog", "dog/b.png"),
    ]
    (lesson / "dog" / "up").symlink_to(lesson)
    with pytest.raises(ValueError, match=r"dog/up leads back"):
        list(folder_images(lesson))
    (lesson / "dog" / "up").unlink()
    (lesson / "dog" / "gone.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"gone\.png .* leads to nothing"):
        list(folder_images(lesson))


def test_two_class_folders_of_one_name_are_both_named(tmp_path: Path) -> None:
    for name in ("cats/large/a.png", "dogs/large/b.png"):
        touch(tmp_path / name)
    with pytest.raises(ValueError, match=r"cats/large and .*dogs/large would be one class, large"):
        next(folder_images(tmp_path))


def test_what_is_too_much_for_one_request_goes_up_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "BATCH_IMAGES", 3)
    monkeypatch.setattr(images, "BATCH_BYTES", 10)
    sizes = [4, 4, 4, 20, 1, 1, 1, 1]
    groups = [[image.size_bytes for image in group] for group in batches(LabelledImage("a", b"x" * n) for n in sizes)]
    assert groups == [[4, 4], [4], [20], [1, 1, 1], [1]]


def test_an_image_is_called_by_its_name_or_by_its_file(tmp_path: Path) -> None:
    assert LabelledImage("a", b"").filename == "image"
    assert LabelledImage("a", touch(tmp_path / "b.png")).filename == "b.png"
    assert LabelledImage("a", b"", name="c.png").filename == "c.png"


def test_portions_are_bounded_in_number_and_in_bytes() -> None:
    sizes = [3, 3, 9, 20, 1, 1, 1]
    assert list(portions(sizes, int, most=2, most_bytes=10)) == [[3, 3], [9], [20], [1, 1], [1]]
    assert list(portions([], int, most=2, most_bytes=10)) == []
