"""A line says what ran the GPU, where there is one."""

from pathlib import Path

import pytest
import torch

from everclass.bench import gpu
from everclass.bench.gpu import of_gpu


def test_a_machine_without_a_gpu_says_nothing_of_one() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert of_gpu() == {}


def test_cuda_cudnn_and_driver_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = tmp_path / "version"
    driver.write_text("550.54.15\n")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 90100)
    monkeypatch.setattr(torch.version, "cuda", "12.4")
    monkeypatch.setattr(gpu, "DRIVER", driver)
    assert of_gpu() == {"cuda": "12.4", "cudnn": "90100", "driver": "550.54.15"}
    driver.unlink()
    assert "driver" not in of_gpu()
