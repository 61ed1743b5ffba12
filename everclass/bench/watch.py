"""How long each phase took and how much memory the process held in it."""

import gc
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import psutil
import torch

from model.allocation import hand_back_freed_memory

SAMPLE_S = 0.2


def of_method(values: Mapping[str, float], name: str, merge: Callable[[float, float], float]) -> dict[str, float]:
    """What belongs to one method, by phase: what all share and what `PHASE/NAME` says of it, merged."""
    found: dict[str, float] = {}
    for key, value in values.items():
        phase, _, owner = key.partition("/")
        if owner in ("", name):
            found[phase] = merge(found[phase], value) if phase in found else value
    return found


class Watch:
    """Sums seconds by phase and keeps the peak of resident memory (CPU) or of what the GPU has allocated, in bytes.

    `PHASE/NAME` is what one method alone does in a phase, `PHASE` what several share.
    """

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.peak_bytes: dict[str, int] = defaultdict(int)
        self._gpu = device if device.startswith("cuda") else None
        self._process = psutil.Process()
        self._phase: str | None = None
        self._since = time.perf_counter()
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        gc.collect()
        hand_back_freed_memory()
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.enter(None)
        self._stop.set()
        self._sampler.join()

    def enter(self, phase: str | None) -> None:
        """What happens from now on belongs to this phase; None belongs to none."""
        self._look()
        now = time.perf_counter()
        if self._phase is not None:
            self.seconds[self._phase] += now - self._since
        if phase != self._phase and self._phase is not None and "/" not in self._phase:
            # What several share goes through images, and what it leaves would count as the next one's. It takes no time
            # of either.
            hand_back_freed_memory()
        self._phase, self._since = phase, time.perf_counter()
        if self._gpu is not None:
            torch.cuda.reset_peak_memory_stats(self._gpu)

    def lap(self) -> None:
        """Count what the present phase took up to now."""
        self.enter(self._phase)

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self._look()

    def _look(self) -> None:
        phase = self._phase
        if phase is None:
            return
        gpu = self._gpu
        held = self._process.memory_info().rss if gpu is None else torch.cuda.max_memory_allocated(gpu)
        self.peak_bytes[phase] = max(self.peak_bytes[phase], held)
