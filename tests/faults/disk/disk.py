"""A disk that forgets at a power cut what no fsync had confirmed, and that fails when told to (`disk.c`)."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.diary import Diary
from tests.faults.invariants import broken

SOURCE = Path(__file__).with_name("disk.c")


def compiled(place: Path) -> Path:
    """The library that is put before libc; skips the test where no compiler can make it."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler (cc)")
    library = place / "disk.so"
    flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", str(library), str(SOURCE)], check=True)
    return library


@dataclass(frozen=True)
class Disk:
    """What lies below `root` is on the disk; `shadow` holds what a power cut leaves of it."""

    library: Path
    root: Path
    shadow: Path

    @classmethod
    def new(cls, library: Path, place: Path) -> "Disk":
        """An empty disk below `place`."""
        root, shadow = place.resolve() / "disk", place.resolve() / "shadow"
        root.mkdir()
        shadow.mkdir()
        return cls(library, root, shadow)

    @property
    def data(self) -> Path:
        """The data folder on this disk."""
        return self.root / "data"

    @property
    def diary(self) -> Diary:
        """What was acknowledged by those who worked on it."""
        return Diary(self.root.parent / "diary.jsonl")

    @property
    def full(self) -> Path:
        """While this file exists, no write finds room."""
        return self.shadow.parent / "full"

    def environment(self, *, deaf: str = "", fail: str = "") -> Mapping[str, str]:
        """Variables of a process on this disk. `deaf`: fsyncs that confirm nothing; `fail`: a write that fails."""
        named = {"DEAF": deaf, "FAIL": fail, "ROOT": str(self.root), "SHADOW": str(self.shadow), "FULL": str(self.full)}
        return {"LD_PRELOAD": str(self.library)} | {f"FAULTY_DISK_{k}": v for k, v in named.items() if v}

    def broken(self) -> list[str]:
        """The invariants that do not hold on it."""
        return broken(self.data, self.diary.all("accepted"), self.diary.all("promoted"))

    def broken_after_power_cut(self) -> list[str]:
        """The invariants that do not hold on what a power cut leaves of it."""
        left = self.root.parent / "left"
        self._restore("root", left)
        return broken(left / "data", self.diary.all("accepted"), self.diary.all("promoted"))

    def _restore(self, identity: str, folder: Path) -> None:
        folder.mkdir()
        names = self.shadow / identity
        for line in names.read_text().splitlines() if names.exists() else ():
            kind, who, name = line.split("\t")
            if kind == "d":
                self._restore(who, folder / name)
            elif (self.shadow / who).exists():
                shutil.copyfile(self.shadow / who, folder / name)
            else:
                (folder / name).touch()


@dataclass(frozen=True)
class Stage:
    """A process that plays scenes on disks, each in a fork of itself."""

    process: "subprocess.Popen[str]"

    @classmethod
    @contextmanager
    def open(cls, library: Path, module: str) -> Iterator["Stage"]:
        """The stage of a module of scenes."""
        command = [sys.executable, "-m", module]
        with subprocess.Popen(
            command,
            env=os.environ | {"LD_PRELOAD": str(library)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            yield cls(process)
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(30) == 0

    def play(self, disk: Disk, scene: str, *, deaf: str = "", fail: str = "", orders: str = "") -> int:
        """Play a scene to its end; the exit status."""
        line = {
            "scene": scene,
            "folder": str(disk.data),
            "diary": str(disk.diary.path),
            "environment": disk.environment(deaf=deaf, fail=fail),
            "orders": orders,
        }
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(line), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def after(self, disk: Disk, scene: str, *, deaf: str = "", orders: str = "") -> list[str]:
        """Play the scene until it is killed, cut the power, and say what is broken then."""
        assert self.play(disk, scene, deaf=deaf, orders=orders) == -signal.SIGKILL
        return disk.broken_after_power_cut()
