"""What a run found, as one JSON line; lines are only ever added, those of a chain all or none."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from everclass.bench.code import code
from everclass.bench.gpu import of_gpu
from everclass.bench.inputs import same_inputs
from model.judging.evaluation import AccuracyMatrix, accuracy_matrix
from stream.files import write

MEASURING = "measures"
"""The phase in which a run is measured beside its own answers: no part of a method's time or memory."""

RULES = {"calibration_error": "0022", "novelty_auroc": "0024"}
"""The decision that says how a score without held-out images is made; figures of other rules are not compared."""

COMPUTING = ("torch", "torchvision", "timm", "numpy", "scipy", "pillow")
"""The packages that make pixels, features and heads: a run is begun and ended with the same ones."""

PACKAGES = ("everclass", *COMPUTING, "pyarrow", "safetensors")


@dataclass(frozen=True)
class Result:
    """One method on one seed. Accuracies are rates in 0–1, times seconds, memory bytes.

    `matrix[k][j]` is the accuracy on task j's test images after task k (j ≤ k), `curve[k]` the one over all images seen
    so far. `task_mean` is the mean over tasks of the last row. `calibration_error` and `novelty_auroc` are those after
    each task, None where there was nothing to measure. `probe` and `oracle` are accuracies after each task, of a joint
    linear probe and of statistics made anew (`everclass/bench/measures.py`); empty where they were not asked for.
    `inputs` says what the run was made from and asked for beside its configuration (`everclass/bench/inputs.py`); empty
    in lines of older code.
    """

    method: str
    protocol: str
    seed: int
    last_acc: float
    inc_acc: float | None
    task_mean: float
    forgetting: float | None
    backward_transfer: float | None
    curve: list[float]
    matrix: list[list[float]]
    test_images: list[int]
    train_images: list[int]
    seconds: dict[str, float]
    peak_bytes: dict[str, int]
    kept_bytes: int
    statistics_bytes: int
    calibration_error: list[float | None]
    novelty_auroc: list[float | None]
    probe: list[float]
    configuration: dict[str, Any]
    versions: dict[str, str] = field(default_factory=lambda: installed())
    finished_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    oracle: list[float | None] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)

    @property
    def accuracies(self) -> AccuracyMatrix:
        """`matrix`, as all other figures of accuracy are made of it."""
        return accuracy_matrix(self.matrix, self.test_images)

    @property
    def asked(self) -> frozenset[str]:
        """The measures that this line has figures of, and `unknown` where it was asked for or has a figure."""
        unknown = self.inputs.get("unknown") or any(one is not None for one in self.novelty_auroc)
        return frozenset(name for name in ("probe", "oracle") if getattr(self, name)) | (
            {"unknown"} if unknown else set()
        )

    @property
    def measured(self) -> frozenset[str]:
        """What of that is by today's rules."""
        return self.asked if self.is_by_rule("novelty_auroc") else self.asked - {"unknown"}

    def is_by_rule(self, figure: str) -> bool:
        """Whether the figure, one of `RULES`, is by today's rule; lines of older code do not say that it is."""
        return bool(self.inputs.get("rules", {}).get(figure) == RULES[figure])

    @property
    def method_seconds(self) -> float:
        """All phases but that of measures."""
        return sum(seconds for phase, seconds in self.seconds.items() if phase != MEASURING)

    @property
    def method_peak_bytes(self) -> int:
        """The highest of all phases but that of measures."""
        return max((peak for phase, peak in self.peak_bytes.items() if phase != MEASURING), default=0)

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What makes it the same run: method, protocol, seed and configuration."""
        return self.method, self.protocol, self.seed, json.dumps(self.configuration, sort_keys=True)


def installed() -> dict[str, str]:
    """Versions of Python, the system, the GPU's libraries and the packages that decide figures, and which code of our
    own it is.
    """
    found = {"python": platform.python_version(), "machine": platform.machine(), "os": platform.platform()}
    found |= {**code(), **of_gpu()}
    return found | versions_of(PACKAGES)


def versions_of(packages: Sequence[str]) -> dict[str, str]:
    """The versions of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def append(path: Path, *results: Result) -> None:
    """Adds the lines, all of them or none, durable; a line that a crash cut off is dropped first.

    For one process at a time: the file is written anew (`everclass/bench/hold.py`).
    """
    before = path.read_bytes()[: _whole_lines(path)] if path.exists() else b""
    added = [json.dumps(asdict(result), ensure_ascii=False).encode() + b"\n" for result in results]
    write(path, before + b"".join(added))


def read(path: Path) -> list[Result]:
    """All whole lines, in order; nothing where there is no file. Raises ValueError naming a line that is no result."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        lines = file.read(_whole_lines(path)).split(b"\n")
    return [_parsed(path, number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def newest(results: Sequence[Result]) -> list[Result]:
    """The last line of each run, in the order in which they were first seen.

    Runs with other weights or images are other runs, unless one of them does not say what its were.
    """
    found: list[Result] = []
    places: dict[tuple[str, str, int, str], list[int]] = {}
    for result in results:
        mine = places.setdefault(result.key, [])
        place = next((one for one in mine if same_inputs(found[one].inputs, result.inputs)), None)
        if place is None:
            mine.append(len(found))
            found.append(result)
        else:
            found[place] = result
    return found


def _parsed(path: Path, number: int, line: bytes) -> Result:
    try:
        return Result(**json.loads(line))
    except (TypeError, ValueError) as error:
        raise ValueError(f"line {number} of {path} is no result: {error}") from error


def _whole_lines(path: Path) -> int:
    """Bytes up to and with the last line break."""
    return path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
