"""CUB-200-2011: lists that are joined by image id, never by line."""

from pathlib import Path

from stream.protocols.dataset import Dataset, Found, ProtocolError, made_of


def read_cub200(root: Path) -> Dataset:
    """From `CUB_200_2011/` or the folder above it, by its official split. Raises ProtocolError."""
    folder = root / "CUB_200_2011" if (root / "CUB_200_2011").is_dir() else root
    names = _table(folder / "classes.txt")
    paths, classes = _table(folder / "images.txt"), _table(folder / "image_class_labels.txt")
    is_train = _table(folder / "train_test_split.txt")
    for name, table in (("image_class_labels.txt", classes), ("train_test_split.txt", is_train)):
        if table.keys() != paths.keys():
            odd = min(table.keys() ^ paths.keys())
            raise ProtocolError(folder / name, f"image {odd} is not in both this file and images.txt")
    odd_flags = set(is_train.values()) - {"0", "1"}
    if odd_flags:
        raise ProtocolError(folder / "train_test_split.txt", f"{min(odd_flags)} is neither 1 (to train) nor 0")
    found = {
        image: Found(_picture(folder, path), _named(names, classes[image], folder)) for image, path in paths.items()
    }
    train, test = ([found[image] for image in found if is_train[image] == part] for part in ("1", "0"))
    return made_of("cub200", train, test, folder, classes=[names[number] for number in sorted(names, key=int)])


def _table(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ProtocolError(path, "there is no such file")
    try:
        rows = [line.split(maxsplit=1) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ProtocolError(path, f"this is not text in UTF-8: {error}") from error
    if any(len(row) != 2 or not row[0].isdigit() for row in rows):
        raise ProtocolError(path, "a line is not a number and a word")
    table = {number: value.strip() for number, value in rows}
    if len(table) != len(rows):
        raise ProtocolError(path, "a number comes twice")
    return table


def _picture(folder: Path, name: str) -> Path:
    path = folder / "images" / name
    if not path.is_file():
        raise ProtocolError(folder / "images.txt", f"it names {name}, which is not there")
    return path


def _named(names: dict[str, str], number: str, folder: Path) -> str:
    if number not in names:
        raise ProtocolError(folder / "image_class_labels.txt", f"class {number} is not in classes.txt")
    return names[number]
