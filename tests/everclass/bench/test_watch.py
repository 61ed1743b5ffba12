"""Methods that share a run share what is done for all, and nothing of what is done for one."""

import platform
import subprocess
import sys
from operator import add

import psutil
import pytest
import torch

from everclass.bench.watch import Watch, of_method


def test_a_method_has_what_all_share_and_its_own() -> None:
    seconds = {"features": 5.0, "alignment": 0.5, "alignment/lda": 1.0, "alignment/ranpac": 90.0, "evaluation/lda": 2.0}
    assert of_method(seconds, "lda", add) == {"features": 5.0, "alignment": 1.5, "evaluation": 2.0}
    assert of_method(seconds, "ncm", add) == {"features": 5.0, "alignment": 0.5}
    assert of_method({"alignment": 7, "alignment/lda": 9}, "lda", max) == {"alignment": 9}


def test_phases_are_counted_each_for_itself() -> None:
    with Watch("cpu") as watch:
        watch.enter("features")
        watch.enter("alignment/lda")
        watch.enter(None)
    assert list(watch.seconds) == ["features", "alignment/lda"] and min(watch.seconds.values()) >= 0
    assert watch.peak_bytes["features"] > 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries keep memory in other ways")
def test_what_was_freed_before_does_not_count() -> None:
    many = [bytearray(4_000) for _ in range(50_000)]
    last = many.pop()
    many.clear()
    kept = psutil.Process().memory_info().rss
    with Watch("cpu") as watch:
        watch.enter("features")
    assert watch.peak_bytes["features"] < kept - 2**27 and len(last) == 4_000


KEPT = """
import torch
from everclass.bench.watch import Watch
from model.allocation import keep_freed_memory

keep_freed_memory()
with Watch("cpu") as watch:
    watch.enter("training")
    for _ in range(8):
        torch.ones(2**26)
    watch.enter("alignment/lda")
    watch.enter(None)
print(watch.peak_bytes["training"] - watch.peak_bytes["alignment/lda"])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries keep memory in other ways")
def test_what_stage_1_leaves_does_not_count_as_its_heads() -> None:
    said = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    assert int(said.stdout) > 2**27


def test_the_memory_of_a_gpu_is_that_of_the_one_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    allocated, reset = {"cuda:0": 5, "cuda:1": 7 * 2**20}, []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device="cuda:0": allocated[device])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device="cuda:0": reset.append(device))
    with Watch("cuda:1") as watch:
        watch.enter("features")
    assert watch.peak_bytes == {"features": 7 * 2**20} and set(reset) == {"cuda:1"}
