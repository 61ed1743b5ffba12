"""The images that only judge: those held out by any task of a version's ancestry, and their features by backbone."""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stream.ledger import Ledger
from stream.tasks import Item
from stream.versions import Version

KEPT_FILES = 8
"""Feature files kept in the cache: one a backbone, the newest ones."""

log = logging.getLogger(__name__)
Features = NDArray[np.float32]


@dataclass(frozen=True)
class HeldOutImage:
    """An image and the task that it is stored under."""

    task: str
    item: Item


def held_out(ledger: Ledger, base: Version | None, task_id: str | None = None) -> list[HeldOutImage]:
    """What a version's ancestry holds out, oldest task first, then what a task on it does; the same picture once."""
    pairs = ledger.held_out(base.version) if base else []
    if task_id is not None:
        pairs += [(task_id, item) for item in ledger.items(task_id) if item.split == "held_out"]
    found: dict[str, HeldOutImage] = {}
    for task, item in pairs:
        if not item.purged:
            found.setdefault(item.pixel_digest, HeldOutImage(task, item))
    return list(found.values())


def balanced(images: Sequence[HeldOutImage], most: int) -> list[HeldOutImage]:
    """At most `most` images, taken from the classes in turn, each class in order of its images' digests."""
    by_class: dict[str, list[HeldOutImage]] = defaultdict(list)
    for image in images:
        by_class[image.item.label].append(image)
    for members in by_class.values():
        members.sort(key=lambda image: image.item.pixel_digest)
    turns = chain.from_iterable(zip_longest(*by_class.values()))
    return [image for image in turns if image is not None][:most]


class FeatureCache:
    """Features of held-out images by backbone, so that a backbone that stands still computes each image once.

    Only a cache: what cannot be read is computed again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def features(self, backbone: str, digests: Sequence[str], compute: Callable[[Sequence[int]], Features]) -> Features:
        """`features_ND` of the images, in order; `compute` is given the indices of those that are not known yet.

        `backbone` is a digest of all that features depend on.
        """
        known = self._read(backbone)
        missing = [index for index, digest in enumerate(digests) if digest not in known]
        if missing:
            fresh_ND = compute(missing)
            known |= {digests[index]: row_D for index, row_D in zip(missing, fresh_ND, strict=True)}
            self._write(backbone, known)
        return np.stack([known[digest] for digest in digests]) if digests else compute([])

    def _path(self, backbone: str) -> Path:
        return self._folder / f"{backbone}.safetensors"

    def _read(self, backbone: str) -> dict[str, Features]:
        path = self._path(backbone)
        if not path.exists():
            return {}
        try:
            with safe_open(path, framework="numpy") as file:
                digests = json.loads((file.metadata() or {})["digests"])
                return dict(zip(digests, file.get_tensor("features_ND"), strict=True))
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            log.warning("features of %s are computed again: %s", backbone, error)
            return {}

    def _write(self, backbone: str, known: Mapping[str, Features]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._path(backbone).with_suffix(".new")
        features_ND = np.stack(list(known.values())).astype(np.float32)
        save_file({"features_ND": features_ND}, fresh, {"digests": json.dumps(list(known))})
        fresh.replace(self._path(backbone))
        newest_first = sorted(self._folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in newest_first[KEPT_FILES:]:
            old.unlink(missing_ok=True)
