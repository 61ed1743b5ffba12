"""ImageNet-R: 200 classes of renditions. It has no official split; lists of one are read where they are there."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import yaml

from stream.protocols.dataset import Dataset, Found, ProtocolError, made_of
from stream.protocols.trees import read_tree

LISTS = ("imagenet-r_train.yaml", "imagenet-r_test.yaml")


def read_imagenet_r(root: Path) -> Dataset:
    """By split lists (in the folder or in `splits/`), else by `train/` and `test/` or `val/`, else split by rule.

    Raises ProtocolError where a list names what is not there.
    """
    for folder in (root, root / "splits", root.parent / "splits"):
        if all((folder / name).is_file() for name in LISTS):
            train, test = (_listed(folder / name, root) for name in LISTS)
            shared = {one.source for one in train if isinstance(one.source, Path)} & {one.source for one in test}
            if shared:
                raise ProtocolError(folder / LISTS[1], f"{len(shared)} of its images are in the training list too")
            return made_of("imagenet_r", train, test, root, note=f"Split by the lists in {folder.name}.")
    inner = root / "imagenet-r"
    return read_tree("imagenet_r", inner if inner.is_dir() else root)


def _listed(path: Path, root: Path) -> list[Found]:
    try:
        content = yaml.safe_load(path.read_text())
        entries, targets = content["data"], content["targets"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ProtocolError(path, f"this is not a split list with data and targets: {error}") from error
    if not all(isinstance(part, list) for part in (entries, targets)) or not all(
        isinstance(one, str) for one in entries
    ):
        raise ProtocolError(path, "data and targets are not a list of paths and a list of classes")
    if len(entries) != len(targets):
        raise ProtocolError(path, f"{len(entries)} images and {len(targets)} classes")
    return [Found(_place(entry, path, root), PurePosixPath(entry).parent.name) for entry in entries]


def _place(entry: str, path: Path, root: Path) -> Path:
    parts: Sequence[str] = PurePosixPath(entry).parts
    for candidate in (root / "imagenet-r", root):
        place = candidate.joinpath(*parts[-2:])
        if place.is_file():
            return place
    raise ProtocolError(path, f"it names {entry}, which is not there")
