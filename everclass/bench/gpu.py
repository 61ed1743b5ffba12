"""The versions of what runs a GPU."""

from pathlib import Path

import torch

DRIVER = Path("/sys/module/nvidia/version")
"""Where Linux says which driver it has loaded."""


def of_gpu() -> dict[str, str]:
    """CUDA, cuDNN and driver as far as they are told; nothing where torch finds no GPU."""
    if not torch.cuda.is_available():
        return {}
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    driver = DRIVER.read_text().strip() if DRIVER.exists() else None
    found = {"cuda": torch.version.cuda, "cudnn": None if cudnn is None else str(cudnn), "driver": driver}
    return {name: version for name, version in found.items() if version}
