"""Where images are decoded: in this process, or in children that a hostile file can kill without harm to others."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model.backbones.spec import BackboneSpec
from model.pixels.decoder import FAULTS
from model.pixels.images import decode, pixel_digest
from model.pixels.preprocess import evaluation_view

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

NEEDED = re.compile("PATH$|PYTHON|LD_|LANG$|LC_|TMPDIR$|HOME$|VIRTUAL_ENV$|OMP_|COVERAGE_|COV_CORE_")
"""Variables of the environment that children get, by how their names begin."""

DIED = {"fault": "content", "message": "the image cannot be decoded: the decoder dies of it"}, b""
TOO_SLOW = {"fault": "content", "message": "the image takes too long to decode"}, b""


class Decoder(Protocol):
    """Decodes images; every method raises `ImageError` where one cannot be taken. Safe from several threads."""

    def digest(self, data: bytes) -> str:
        """`pixel_digest` of the decoded image."""

    def view(self, data: bytes, spec: BackboneSpec) -> NDArray[np.uint8]:
        """`evaluation_view` of the decoded image, HWC."""

    def close(self) -> None:
        """Let go of what it holds."""


class OwnProcess:
    """Decodes right here: for a process in which a crash hurts nobody else."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def digest(self, data: bytes) -> str:
        """`pixel_digest` of the decoded image."""
        return pixel_digest(decode(data, max_pixels=self._max_pixels))

    def view(self, data: bytes, spec: BackboneSpec) -> NDArray[np.uint8]:
        """`evaluation_view` of the decoded image, HWC."""
        return evaluation_view(decode(data, max_pixels=self._max_pixels), spec)

    def close(self) -> None:
        """Nothing is held."""


class Children:
    """Decodes in child processes with limits of memory and time, up to `most`, started when they are first needed.

    `most_s` is the processor's time for one image. An image whose child dies is tried in a second one, since the child
    may have been killed from outside; where that dies too, or its time is up, the image is broken for its client. Who
    stops the server may ask every process of it to end (SIGTERM): a child that did so before it could ignore that says
    nothing about the image.
    """

    def __init__(self, most: int, max_pixels: int, most_s: float) -> None:
        self._command = [sys.executable, "-m", "model.pixels.decoder", str(max_pixels), str(most_s)]
        self._places = threading.Semaphore(most)
        self._idle: deque[Child] = deque()

    def digest(self, data: bytes) -> str:
        """`pixel_digest` of the decoded image."""
        answer, _ = self._ask(data, None, 0)
        return str(answer["digest"])

    def view(self, data: bytes, spec: BackboneSpec) -> NDArray[np.uint8]:
        """`evaluation_view` of the decoded image, HWC."""
        side = spec.image_size
        _, pixels = self._ask(data, spec.to_json(), side * side * 3)
        return np.frombuffer(pixels, np.uint8).reshape(side, side, 3)

    def close(self) -> None:
        """End the children; no image may be under way."""
        while self._idle:
            self._idle.popleft().end()

    def _ask(self, data: bytes, view: dict[str, Any] | None, expected: int) -> tuple[dict[str, Any], bytes]:
        with self._places:
            answer, pixels = self._try(data, view, expected) or self._try(data, view, expected) or DIED
        if "fault" in answer:
            raise FAULTS[answer["fault"]](answer["message"])
        return answer, pixels

    def _try(self, data: bytes, view: dict[str, Any] | None, expected: int) -> tuple[dict[str, Any], bytes] | None:
        """What a child answers; None where it died."""
        while True:
            child = self._take()
            try:
                answered = child.ask(data, view, expected)
            except BaseException:
                child.end()
                raise
            if answered is not None:
                self._idle.append(child)
                return answered
            status = child.end()
            if status != -signal.SIGTERM:
                return TOO_SLOW if status == -signal.SIGPROF else None

    def _take(self) -> "Child":
        with suppress(IndexError):
            while True:
                child = self._idle.pop()
                if child.lives():
                    return child
                child.end()
        return Child(self._command)


class Child:
    """One child process; one image at a time."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=needed_environment(),
            cwd=Path(__file__).resolve().parents[1],
        )

    def lives(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def ask(self, data: bytes, view: dict[str, Any] | None, expected: int) -> tuple[dict[str, Any], bytes] | None:
        """Its answer, with so many bytes of pixels unless that is a fault; None where it dies of it."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None and back is not None
        try:
            to.write(json.dumps({"size": len(data), "view": view}).encode() + b"\n")
            to.write(data)
            to.flush()
        except BrokenPipeError:
            return None
        line = back.readline()
        if not line.endswith(b"\n"):
            return None
        answer = json.loads(line)
        pixels = b"" if "fault" in answer else back.read(expected)
        return None if "fault" not in answer and len(pixels) < expected else (answer, pixels)

    def end(self) -> int:
        """Let it end, as it does without its stdin, or has done; its exit status, negative where a signal ended it."""
        for stream in (self._process.stdin, self._process.stdout):
            # What could not be written to it is flushed once more, in vain.
            with suppress(OSError):
                assert stream is not None
                stream.close()
        return self._process.wait()


def needed_environment() -> dict[str, str]:
    """What Python needs to start, on one thread: who reads what strangers made has no business with secrets."""
    return {name: value for name, value in os.environ.items() if NEEDED.match(name)} | ONE_THREAD


def open_decoder(children: int, max_pixels: int, most_s: float) -> Decoder:
    """A decoder with so many children; none: in this process."""
    return Children(children, max_pixels, most_s) if children else OwnProcess(max_pixels)
