"""A data set as protocols see it: pictures that are decoded on demand, their classes and domains, and a part of it."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.pixels.images import ImageError, decode
from stream.errors import InvalidContent, StreamError

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]

MAX_PIXELS = 100_000_000
VALIDATION_START, VALIDATION_PART = 250, 0.1
TEST_PART = 0.2
"""Of each class, where a data set has no split of its own."""


class ProtocolError(StreamError):
    """A data set that cannot be read: `place` is the file or folder, the text says what is wrong with it."""

    def __init__(self, place: Path, problem: str) -> None:
        self.place = place
        super().__init__(f"{place}: {problem}")


@dataclass(frozen=True, eq=False, slots=True)
class Cell:
    """The bytes of an image in a table: which file it is of, and in which row there (from 0)."""

    data: bytes
    table: Path
    row: int


Source = Path | Cell | Pixels
"""A file, the bytes of one in a table, or pixels H×W×3."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Pictures in file order. `classes_N` index the data set's classes, `domains_N` its domains (all 0 without any)."""

    sources: Sequence[Source]
    classes_N: Ints
    domains_N: Ints

    def __len__(self) -> int:
        return len(self.classes_N)

    def pixels(self, index: int) -> Pixels:
        """Image `index`, H×W×3 RGB. Raises ProtocolError, naming the file and the row in it, where it cannot be
        decoded.
        """
        source = self.sources[index]
        if isinstance(source, np.ndarray):
            return source
        try:
            data = source.read_bytes() if isinstance(source, Path) else source.data
            return decode(data, max_pixels=MAX_PIXELS)
        except (ImageError, OSError) as error:
            if isinstance(source, Path):
                raise ProtocolError(source, f"this image cannot be read: {error}") from error
            raise ProtocolError(source.table, f"the image in row {source.row} cannot be read: {error}") from error

    def of(self, rows_N: Ints) -> "Examples":
        """These rows, in this order."""
        return Examples([self.sources[row] for row in rows_N], self.classes_N[rows_N], self.domains_N[rows_N])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Classes sorted as the data set sorts them; `note` says what of its split is not published."""

    name: str
    classes: tuple[str, ...]
    domains: tuple[str, ...]
    train: Examples
    test: Examples
    note: str = ""


@dataclass(frozen=True)
class Part:
    """The first images of each class (None: all), and by which a run is judged.

    `validation` judges by training images that are not learned from, never by test images: images 250 and on of each
    class where it has 300 or more, else its last ones; as many as `test_per_class` says, by default a tenth.
    `each_domain` counts those of each class in each domain; otherwise a class's domains take turns.
    """

    train_per_class: int | None = None
    test_per_class: int | None = None
    evaluation: Literal["test", "validation"] = "test"
    each_domain: bool = False

    def of(self, dataset: Dataset) -> Dataset:
        """The part of this data set. Raises InvalidContent where no class has training images to spare for judging."""
        train, test = dataset.train, dataset.test
        if self.evaluation == "validation":
            groups = _groups(train, self.each_domain)
            judged = [_validation(rows_N, self.test_per_class) for rows_N in groups]
            if not sum(map(len, judged)):
                raise InvalidContent.of("evaluation", "no class has a training image to spare for validation")
            learned = [np.setdiff1d(rows_N, away_N) for rows_N, away_N in zip(groups, judged, strict=True)]
            train, test = train.of(_sorted(learned)), train.of(_sorted(judged))
        return replace(
            dataset,
            train=_first(train, self.train_per_class, self.each_domain),
            test=_first(test, self.test_per_class, self.each_domain),
        )


@dataclass(frozen=True)
class Found:
    """One picture while a data set is read: the names of its class and domain."""

    source: Source
    label: str
    domain: str = ""


def made_of(
    name: str,
    train: Sequence[Found],
    test: Sequence[Found],
    place: Path,
    *,
    classes: Sequence[str] = (),
    note: str = "",
) -> Dataset:
    """The data set of these pictures; classes are sorted by name unless they are given in their published order.

    Raises ProtocolError where there are no training or test images, or a class is not among the given ones.
    """
    for part, found in (("training", train), ("test", test)):
        if not found:
            raise ProtocolError(place, f"there are no {part} images")
    labels = tuple(classes) or tuple(sorted({one.label for one in (*train, *test)}))
    domains = tuple(sorted({one.domain for one in (*train, *test)}))
    column, domain = ({value: index for index, value in enumerate(values)} for values in (labels, domains))

    def examples(found: Sequence[Found]) -> Examples:
        return Examples(
            [one.source for one in found],
            np.array([column[one.label] for one in found], dtype=np.int64),
            np.array([domain[one.domain] for one in found], dtype=np.int64),
        )

    strange = {one.label for one in (*train, *test)} - set(labels)
    if strange:
        raise ProtocolError(place, f"a class that the data set does not name: {min(strange)}")
    return Dataset(name, labels, domains, examples(train), examples(test), note)


def held_apart(found: Sequence[Found], key: Sequence[bytes]) -> tuple[list[Found], list[Found]]:
    """Training and test images where nothing says which: for testing the fifth of each class in each domain whose
    keys' SHA-256 is least.

    Classes of one image are trained on. The rule depends on the keys alone, not on order or on other classes.
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, one in enumerate(found):
        groups[one.label, one.domain].append(row)
    test: set[int] = set()
    for rows in groups.values():
        lots = sorted(rows, key=lambda row: hashlib.sha256(key[row]).digest())
        test.update(lots[: ceil(TEST_PART * len(rows)) if len(rows) > 1 else 0])
    train = [one for row, one in enumerate(found) if row not in test]
    return train, [one for row, one in enumerate(found) if row in test]


def _groups(examples: Examples, each_domain: bool) -> list[Ints]:
    """The rows of each class: by domain in file order, or the first of each domain, then the second ones, …"""
    pairs_N2 = np.stack([examples.classes_N, examples.domains_N], axis=1)
    pairs, of_N = np.unique(pairs_N2, axis=0, return_inverse=True)
    rows = [np.flatnonzero(of_N == place) for place in range(len(pairs))]
    if each_domain:
        return rows
    classes_P = pairs[:, 0]
    return [_in_turns([rows[place] for place in np.flatnonzero(classes_P == one)]) for one in np.unique(classes_P)]


def _in_turns(parts: Sequence[Ints]) -> Ints:
    turns_N = np.concatenate([np.arange(len(part)) for part in parts])
    return np.concatenate(parts)[np.argsort(turns_N, kind="stable")]


def _validation(rows_N: Ints, count: int | None) -> Ints:
    wanted = count or max(1, round(VALIDATION_PART * len(rows_N)))
    if len(rows_N) >= VALIDATION_START + 50:
        return rows_N[VALIDATION_START : VALIDATION_START + wanted]
    return rows_N[max(1, len(rows_N) - wanted) :]


def _first(examples: Examples, count: int | None, each_domain: bool) -> Examples:
    if count is None:
        return examples
    return examples.of(_sorted([rows_N[:count] for rows_N in _groups(examples, each_domain)]))


def _sorted(parts: Sequence[Ints]) -> Ints:
    return np.sort(np.concatenate(parts))
