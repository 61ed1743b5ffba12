"""Memory that is used again is not cleared again, and what is handed back is gone."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, psutil, torch
from model.allocation import hand_back_freed_memory, keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

held = psutil.Process().memory_info
by_default = [faults() for _ in range(12)][-4:]
keep_freed_memory()
# Small pieces settle between the large ones first.
kept, full = [faults() for _ in range(12)][-4:], held().rss
hand_back_freed_memory()
print(sum(by_default), sum(kept), full - held().rss)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries keep memory in other ways")
def test_large_pieces_are_used_again_until_they_are_handed_back() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    by_default, kept, handed_back = map(int, said.stdout.split())
    # Four times 64 MiB, in pages of 4 KiB or, where the kernel merges them by itself, of 2 MiB.
    assert by_default >= 128 and kept < by_default / 4
    assert handed_back > 60 * 2**20
