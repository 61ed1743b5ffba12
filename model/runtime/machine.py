"""What kind of machine this is, as far as the choice of a runtime depends on it."""

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from model.cores import cores

_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino")
_CPU_KEYS = ("model name", "flags", "Features", "CPU implementer", "CPU part")


def machine_type(*, cpuinfo: Path = Path("/proc/cpuinfo"), gpus: Path = Path("/proc/driver/nvidia/gpus")) -> str:
    """A short name for machines on which the same runtime is the fastest, and agrees: CPU, cores, GPUs, packages.

    The two paths are where Linux tells of its CPUs and NVIDIA's driver of its GPUs.
    """
    facts: dict[str, Any] = {
        "system": (platform.system(), platform.machine()),
        "cpu": _cpu(cpuinfo),
        "cores": cores(),
        "gpus": _gpus(gpus),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return f"{platform.machine()}-{facts['cores']}c-{len(facts['gpus'])}g-{digest[:16]}"


def _cpu(cpuinfo: Path) -> dict[str, str]:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return {"model name": platform.processor()}
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip() in _CPU_KEYS}


def _gpus(gpus: Path) -> list[str]:
    lines = [line for file in sorted(gpus.glob("*/information")) for line in file.read_text().splitlines()]
    return [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
