"""Each data set is read in the formats in which it is published, and what is wrong with one is named."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest
from pyarrow import parquet

from stream.errors import NotFound
from stream.protocols import PROTOCOLS, Dataset, Part, ProtocolError, Schedule, read_dataset, split_tasks
from tests.stream.protocols import made


def counts(dataset: Dataset) -> tuple[list[int], list[int]]:
    width = len(dataset.classes)
    return (
        np.bincount(dataset.train.classes_N, minlength=width).tolist(),
        np.bincount(dataset.test.classes_N, minlength=width).tolist(),
    )


def test_of_a_folder_without_cifar_100_all_forms_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match=r"neither Python pickles \(meta\), nor train\.bin, nor Parquet"):
        read_dataset("cifar100", made.tree(tmp_path / "digits", {"8": 1}))


@pytest.mark.parametrize("make", [made.cifar_pickles, made.cifar_pickles_of_python_2, made.cifar_binary])
@pytest.mark.parametrize("inside", [True, False])
def test_cifar_100_is_read_plane_by_plane(make: Callable[[Path], Path], inside: bool, tmp_path: Path) -> None:
    root = make(tmp_path)
    dataset = read_dataset("cifar100", next(root.iterdir()) if inside else root)
    assert dataset.classes == made.NAMES
    assert counts(dataset) == ([5, 5, 5], [5, 5, 5])
    pixels_HWC = dataset.train.pixels(2)
    assert pixels_HWC.shape == (32, 32, 3) and dataset.train.classes_N[2] == 2
    assert pixels_HWC[5, 5].tolist() == [2, 52, 102]
    assert pixels_HWC[0, 1].tolist() == [255, 52, 102]


def test_what_python_2_wrote_is_what_is_written_today(tmp_path: Path) -> None:
    """So many images that lists come in batches, and that what is remembered has long numbers."""
    old, new = (
        read_dataset("cifar100", make(tmp_path / make.__name__, each=334))
        for make in (made.cifar_pickles_of_python_2, made.cifar_pickles)
    )
    assert old.classes == new.classes and counts(old) == ([334] * 3, [334] * 3)
    for part, other in ((old.train, new.train), (old.test, new.test)):
        np.testing.assert_array_equal(part.classes_N, other.classes_N)
        assert all(np.array_equal(part.pixels(row), other.pixels(row)) for row in range(0, 1_002, 7))


class Attack:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.place,)


def test_a_pickle_that_wants_to_run_code_is_refused_before_it_does(tmp_path: Path) -> None:
    root = made.cifar_pickles(tmp_path)
    victim = tmp_path / "touched"
    (root / "cifar-100-python" / "train").write_bytes(pickle.dumps({b"data": Attack(victim)}, protocol=2))
    with pytest.raises(ProtocolError, match="not allowed"):
        read_dataset("cifar100", root)
    assert not victim.exists()


def test_damaged_parts_of_cifar_100_are_named(tmp_path: Path) -> None:
    root = made.cifar_binary(tmp_path / "b")
    test = root / "cifar-100-binary" / "test.bin"
    test.write_bytes(test.read_bytes()[:-1])
    with pytest.raises(ProtocolError, match=r"test\.bin.*whole number of records"):
        read_dataset("cifar100", root)
    test.write_bytes(bytes([0, 99]) + bytes(3072))
    with pytest.raises(ProtocolError, match="beyond the 3"):
        read_dataset("cifar100", root)
    test.unlink()
    with pytest.raises(ProtocolError, match="no such file"):
        read_dataset("cifar100", root)
    root = made.cifar_pickles(tmp_path / "p")
    train = root / "cifar-100-python" / "train"
    train.write_bytes(train.read_bytes()[:200])
    with pytest.raises(ProtocolError, match="published pickles"):
        read_dataset("cifar100", root)
    train.write_bytes(pickle.dumps([1]))
    with pytest.raises(ProtocolError, match="published pickles"):
        read_dataset("cifar100", root)
    train.write_bytes(pickle.dumps({b"data": [[1, 2]], b"fine_labels": [0]}, protocol=2))
    with pytest.raises(ProtocolError, match="not a part of CIFAR-100"):
        read_dataset("cifar100", root)


def test_classes_of_cifar_100_that_are_not_named_are_refused(tmp_path: Path) -> None:
    folder = made.cifar_pickles(tmp_path) / "cifar-100-python"
    data, labels = made.cifar_rows(5)
    (folder / "train").write_bytes(pickle.dumps({b"data": data, b"fine_labels": [-1] * len(labels)}, protocol=2))
    with pytest.raises(ProtocolError, match=r"train: .*class -1"):
        read_dataset("cifar100", tmp_path)
    (folder / "meta").write_bytes(pickle.dumps({b"other": 1}, protocol=2))
    with pytest.raises(ProtocolError, match=r"meta: .*class names"):
        read_dataset("cifar100", tmp_path)


def test_imagenet_r_is_split_by_lists_where_there_are_some(tmp_path: Path) -> None:
    made.tree(tmp_path / "imagenet-r", {"n01443537": 3, "n01484850": 2})
    listed = {"train": ["n01443537/000.jpg", "n01484850/001.jpg"], "test": ["n01443537/002.jpg"]}
    made.imagenet_r_lists(tmp_path, listed)
    dataset = read_dataset("imagenet_r", tmp_path)
    assert dataset.classes == ("n01443537", "n01484850") and counts(dataset) == ([1, 1], [1, 0])
    made.imagenet_r_lists(tmp_path, listed | {"test": ["n01443537/009.jpg"]})
    with pytest.raises(ProtocolError, match=r"009\.jpg, which is not there"):
        read_dataset("imagenet_r", tmp_path)
    made.imagenet_r_lists(tmp_path, listed | {"test": ["n01443537/000.jpg"]})
    with pytest.raises(ProtocolError, match="1 of its images are in the training list"):
        read_dataset("imagenet_r", tmp_path)
    (tmp_path / "imagenet-r_test.yaml").write_text("data: [1]\ntargets: [1]\n")
    with pytest.raises(ProtocolError, match="not a list of paths"):
        read_dataset("imagenet_r", tmp_path)
    (tmp_path / "imagenet-r_test.yaml").write_text("data: [a, b]\ntargets: [1]\n")
    with pytest.raises(ProtocolError, match="2 images and 1 classes"):
        read_dataset("imagenet_r", tmp_path)
    (tmp_path / "imagenet-r_test.yaml").write_text("!!python/object/apply:os.system [ls]")
    with pytest.raises(ProtocolError, match="not a split list"):
        read_dataset("imagenet_r", tmp_path)


@pytest.mark.parametrize("judged", ["test", "val"])
def test_trees_with_a_split_of_their_own(judged: str, tmp_path: Path) -> None:
    made.tree(tmp_path / "train", {"a": 3, "b": 2})
    made.tree(tmp_path / judged, {"a": 1, "b": 2})
    for protocol in ("imagenet_r", "folder", "cars196"):
        dataset = read_dataset(protocol, tmp_path)
        assert dataset.classes == ("a", "b") and counts(dataset) == ([3, 2], [1, 2]) and dataset.note == ""


def test_a_tree_without_a_split_is_split_by_a_rule_that_depends_on_names_alone(tmp_path: Path) -> None:
    root = made.tree(tmp_path / "one", {"a": 10, "b": 5, "c": 1})
    dataset = read_dataset("folder", root)
    assert counts(dataset) == ([8, 4, 1], [2, 1, 0])
    assert "SHA-256" in dataset.note
    made.tree(root, {"d": 3})
    again = read_dataset("folder", root)
    assert [path for path in again.test.sources if Path(str(path)).parent.name != "d"] == list(dataset.test.sources)


def test_cub_is_joined_by_id(tmp_path: Path) -> None:
    dataset = read_dataset("cub200", made.cub(tmp_path))
    assert dataset.classes == ("001.Bird_0", "002.Bird_1")
    assert [Path(str(path)).name for path in dataset.test.sources] == ["Bird_3.jpg", "Bird_6.jpg"]
    assert dataset.test.classes_N.tolist() == [0, 1]
    for path, column in zip(dataset.train.sources, dataset.train.classes_N, strict=True):
        assert Path(str(path)).parent.name == dataset.classes[column]


def test_what_is_wrong_with_cub_is_named(tmp_path: Path) -> None:
    root = made.cub(tmp_path)
    split = root / "CUB_200_2011" / "train_test_split.txt"
    split.write_text(split.read_text().replace("6 0\n", ""))
    with pytest.raises(ProtocolError, match=r"train_test_split\.txt: image 6"):
        read_dataset("cub200", root)
    split.write_text(split.read_text() + "6 7\n")
    with pytest.raises(ProtocolError, match=r"7 is neither 1 \(to train\) nor 0"):
        read_dataset("cub200", root)
    labels = split.with_name("image_class_labels.txt")
    labels.write_text(labels.read_text() + "1 2\n")
    with pytest.raises(ProtocolError, match=r"image_class_labels\.txt: a number comes twice"):
        read_dataset("cub200", root)
    split.with_name("classes.txt").write_bytes(b"1 Bird\xff\n")
    with pytest.raises(ProtocolError, match=r"classes\.txt: .*UTF-8"):
        read_dataset("cub200", root)
    made.cub(root)
    split.write_text("one two three\n")
    with pytest.raises(ProtocolError, match="not a number and a word"):
        read_dataset("cub200", root)


@pytest.mark.parametrize(
    "make", [made.cars_devkit, lambda root: made.cars_devkit(root, above=True), made.cars_single_list]
)
def test_cars_in_each_of_its_forms(make: Callable[[Path], Path], tmp_path: Path) -> None:
    dataset = read_dataset("cars196", make(tmp_path))
    assert dataset.classes == tuple(sorted(made.CARS)) != made.CARS
    assert dataset.train.classes_N.tolist() == [1, 0, 1, 0]
    assert counts(dataset) == ([2, 2], [1, 1])
    assert dataset.test.pixels(0).shape == (6, 8, 3)


def test_what_is_wrong_with_cars_is_named(tmp_path: Path) -> None:
    root = made.cars_devkit(tmp_path)
    (root / "cars_train" / "00002.jpg").unlink()
    with pytest.raises(ProtocolError, match=r"00002\.jpg, which is not in cars_train"):
        read_dataset("cars196", root)
    (root / "devkit" / "cars_train_annos.mat").write_bytes(b"nothing")
    with pytest.raises(ProtocolError, match=r"cars_train_annos\.mat.*MATLAB"):
        read_dataset("cars196", root)
    (root / "devkit" / "cars_meta.mat").unlink()
    with pytest.raises(ProtocolError, match="no such file"):
        read_dataset("cars196", root)


@pytest.mark.parametrize(
    ("names", "row", "problem"),
    [
        (("relative_im_path", "class", "test"), ("car_ims/000000.jpg", 1, 2), "2 is neither 0"),
        (("relative_im_path", "test"), ("car_ims/000000.jpg", 1), "no field class"),
    ],
)
def test_annotations_of_cars_that_say_too_little(
    names: tuple[str, ...], row: tuple[object, ...], problem: str, tmp_path: Path
) -> None:
    root = made.cars_single_list(tmp_path, names=names, rows=[row, row])
    with pytest.raises(ProtocolError, match=problem):
        read_dataset("cars196", root)


@pytest.mark.parametrize("lists", [True, False])
def test_pacs_has_domains(lists: bool, tmp_path: Path) -> None:
    dataset = read_dataset("pacs", made.pacs(tmp_path, lists=lists))
    assert dataset.classes == ("dog", "horse") and dataset.domains == ("art_painting", "sketch")
    assert counts(dataset) == ([16, 16], [4, 4])
    assert np.bincount(dataset.test.domains_N).tolist() == [4, 4]


@pytest.mark.parametrize("inner", ["kfold", "pacs_data"])
@pytest.mark.parametrize("lists", [True, False])
def test_pacs_is_the_same_in_an_inner_folder(inner: str, lists: bool, tmp_path: Path) -> None:
    plain, within = made.pacs(tmp_path / "plain", lists=lists), tmp_path / "within"
    made.pacs(within / inner, lists=lists)
    for path in (within / inner).glob("*.txt"):
        path.rename(within / path.name)
    outer, dataset = read_dataset("pacs", plain), read_dataset("pacs", within)
    assert (dataset.classes, dataset.domains) == (outer.classes, outer.domains)
    for part, other in ((dataset.test, outer.test), (dataset.train, outer.train)):
        found = [one.relative_to(within / inner) for one in part.sources if isinstance(one, Path)]
        assert found == [one.relative_to(plain) for one in other.sources if isinstance(one, Path)]


def table(path: Path, labels: list[int], names: list[str] | None = None, domains: list[str] | None = None) -> None:
    images = [made.picture(path.parent / "scratch.png", number).read_bytes() for number in range(len(labels))]
    columns: dict[str, object] = {"image": images, "label": labels}
    columns |= {"label_name": names} if names else {}
    columns |= {"domain": domains} if domains else {}
    parquet.write_table(arrow.table(columns), path)


def test_parquet_tables_by_name_or_by_rule(tmp_path: Path) -> None:
    table(tmp_path / "train-0.parquet", [1, 0, 1], ["a", "z", "a"])
    table(tmp_path / "test-0.parquet", [0, 1], ["z", "a"])
    dataset = read_dataset("parquet", tmp_path)
    assert dataset.classes == ("z", "a") and counts(dataset) == ([1, 2], [1, 1])
    assert dataset.train.pixels(0).shape == (6, 8, 3)
    alone = read_dataset("parquet", tmp_path / "train-0.parquet")
    assert counts(alone) == ([1, 1], [0, 1]) and "SHA-256" in alone.note


def test_what_is_wrong_with_a_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ProtocolError, match=r"train\.parquet: this is not a Parquet file"):
        read_dataset("parquet", tmp_path)
    parquet.write_table(arrow.table({"picture": [b""], "label": [1]}), tmp_path / "train.parquet")
    with pytest.raises(ProtocolError, match="no column image"):
        read_dataset("parquet", tmp_path)
    with pytest.raises(ProtocolError, match="no Parquet file"):
        read_dataset("parquet", tmp_path / "empty")


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"image": [b"x", None], "label": [1, 1]}, "row 1 has no bytes of an image"),
        ({"image": ["x", "y"], "label": [1, 1]}, "row 0 has no bytes of an image"),
        ({"image": [b"x", b"y"], "label": [1, None]}, "row 1 has no label"),
        ({"image": [b"x", b"y"]}, "no column label"),
    ],
)
def test_rows_that_lack_something_are_named(columns: dict[str, list[object]], problem: str, tmp_path: Path) -> None:
    parquet.write_table(arrow.table(columns), tmp_path / "train.parquet")
    with pytest.raises(ProtocolError, match=rf"train\.parquet: .*{problem}"):
        read_dataset("parquet", tmp_path)


def test_names_are_labels_enough(tmp_path: Path) -> None:
    parquet.write_table(
        arrow.table({"image": [bytes([n]) for n in range(10)], "label_name": ["b", "a"] * 5}), tmp_path / "all.parquet"
    )
    dataset = read_dataset("parquet", tmp_path)
    assert dataset.classes == ("a", "b") and counts(dataset) == ([4, 4], [1, 1])


def test_numbers_without_names_are_in_order_of_number(tmp_path: Path) -> None:
    table(tmp_path / "train.parquet", [10, 2, 1])
    table(tmp_path / "test.parquet", [10])
    assert read_dataset("parquet", tmp_path).classes == ("1", "2", "10")


def test_the_shared_data_are_read(shared: Path) -> None:
    whole = read_dataset("cifar100", shared / "data" / "cifar100")
    assert counts(whole) == ([500] * 100, [100] * 100) and whole.note == ""
    part = Part(train_per_class=50, test_per_class=50, evaluation="validation").of(whole)
    assert counts(part) == ([50] * 100, [50] * 100)
    rows_N = np.sort(np.argsort(whole.train.classes_N, kind="stable").reshape(100, 500)[:, 250:300].ravel())
    assert all(one is whole.train.sources[row] for one, row in zip(part.test.sources, rows_N, strict=True))
    assert whole.train.pixels(0).shape == (32, 32, 3)
    domains = read_dataset("pacs", shared / "data" / "pacs")
    assert domains.domains == ("art_painting", "cartoon", "photo", "sketch")
    assert counts(domains) == ([64] * 7, [16] * 7)


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    root = made.tree(tmp_path, {"a": 5})
    dataset = read_dataset("folder", root)
    path = dataset.train.sources[0]
    assert isinstance(path, Path)
    path.write_bytes(b"no picture")
    with pytest.raises(ProtocolError, match=path.name):
        dataset.train.pixels(0)


def test_a_picture_of_a_table_that_cannot_be_decoded_is_named_by_its_file_and_its_row_there(tmp_path: Path) -> None:
    images = [made.picture(tmp_path / "scratch.png", number).read_bytes() for number in range(12)]
    images[7] = b"no picture"
    for name, rows in {"train-0": slice(0, 6), "train-1": slice(6, 12), "test": slice(0, 4)}.items():
        count = len(images[rows])
        columns = {"image": images[rows], "label": [row % 2 for row in range(count)]}
        parquet.write_table(arrow.table(columns), tmp_path / f"{name}.parquet")
    tasks = split_tasks(read_dataset("parquet", tmp_path), Schedule(tasks=2), 1993)
    (train,) = (task.train for task in tasks if 1 in task.classes)
    with pytest.raises(ProtocolError, match=r"train-1\.parquet: the image in row 1 cannot be read") as caught:
        [train.pixels(index) for index in range(len(train))]
    assert caught.value.place == tmp_path / "train-1.parquet"


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_an_empty_folder_is_no_data_set(protocol: str, tmp_path: Path) -> None:
    with pytest.raises(ProtocolError):
        read_dataset(protocol, tmp_path)


def test_an_unknown_protocol_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="protocol imagenet_q"):
        read_dataset("imagenet_q", tmp_path)
