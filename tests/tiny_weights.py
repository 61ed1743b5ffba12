"""Weights for timm's tiny test networks, made here: small enough for fault tests, and the same on every run."""

import os
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file


def make(name: str, folder: Path) -> Path:
    """A safetensors file with seeded random weights of timm's network `name`, classifier included."""
    path = folder / f"{name}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = timm.create_model(name, pretrained=False)
        half = path.with_suffix(f".{os.getpid()}")
        save_file({key: value.contiguous() for key, value in network.state_dict().items()}, half)
        half.replace(path)
    return path
