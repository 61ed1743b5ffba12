"""`python -m benchmarks.speed.serving`: what each runtime does bare, on decoded arrays, side by side in one run.

Images per second of a batch, the milliseconds of one image, the seconds from a version's weights to its first answer,
and the seconds of a fresh export that a version does not need. Rounds alternate between the runtimes, so that a machine
that slows down slows them all.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.figures import Figure
from model.backbones.backbone import build
from model.backbones.export import export_graph
from model.backbones.pretrained import EMBEDDED_BACKBONE, default_spec, load_pretrained
from model.backbones.spec import BackboneSpec
from model.runtime import Runtime, RuntimeKind, Weights, available_runtimes, best_device, machine_type, open_runtime

OUT = Path(__file__).parents[1] / "results" / "serving"

Pixels = NDArray[np.uint8]
Opener = Callable[[RuntimeKind], Runtime]
Result = TypeVar("Result")


def main() -> None:
    """Measure, print the table, write it beside its JSON."""
    wishes = _wishes()
    spec = default_spec(wishes.backbone, image_size=wishes.image_size)
    weights = _weights(spec, wishes.weights)
    with tempfile.TemporaryDirectory() as folder:
        export_s, path = timed(lambda: export_graph(spec, Path(folder)))
        graph = path.read_bytes()

    def opened(kind: RuntimeKind) -> Runtime:
        device = best_device() if kind == "onnxruntime" else "cpu"
        return open_runtime(kind, graph, weights, threads=wishes.threads, device=device)

    shape = (wishes.batch, spec.image_size, spec.image_size, 3)
    pixels_BHWC = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    figures = [Figure("export of the graph", "s", (export_s,), "once for an architecture")]
    figures += opening(opened, pixels_BHWC[:1], wishes.rounds)
    figures += running(opened, pixels_BHWC, wishes.rounds)
    print(_written(figures, wishes))


def opening(opened: Opener, pixels_1HWC: Pixels, rounds: int) -> list[Figure]:
    """Seconds from weights in memory to the first answer, for every runtime of this machine."""
    seconds: dict[RuntimeKind, list[float]] = {kind: [] for kind in available_runtimes()}
    for _ in range(rounds):
        for kind, taken in seconds.items():
            taken.append(_seconds_to_first_answer(opened, kind, pixels_1HWC))
    return [Figure(f"{kind}: weights to first answer", "s", tuple(taken), "< 1 s") for kind, taken in seconds.items()]


def running(opened: Opener, pixels_BHWC: Pixels, rounds: int) -> list[Figure]:
    """Images per second of whole batches and milliseconds of single images, for every runtime of this machine."""
    runtimes = {kind: opened(kind) for kind in available_runtimes()}
    per_s: dict[RuntimeKind, list[float]] = {kind: [] for kind in runtimes}
    latency_ms: dict[RuntimeKind, list[float]] = {kind: [] for kind in runtimes}
    for _ in range(rounds):
        for kind, runtime in runtimes.items():
            per_s[kind].append(len(pixels_BHWC) / _seconds(runtime, pixels_BHWC))
            latency_ms[kind].append(1000 * _seconds(runtime, pixels_BHWC[:1]))
    batches = [Figure(f"{kind}: batch of {len(pixels_BHWC)}", "images/s", tuple(per_s[kind])) for kind in runtimes]
    return batches + [Figure(f"{kind}: one image", "ms", tuple(latency_ms[kind])) for kind in runtimes]


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds that the work took, and what it gave."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _seconds(runtime: Runtime, pixels_BHWC: Pixels) -> float:
    runtime.features(pixels_BHWC)
    return min(timed(lambda: runtime.features(pixels_BHWC))[0] for _ in range(3))


def _seconds_to_first_answer(opened: Opener, kind: RuntimeKind, pixels_1HWC: Pixels) -> float:
    open_s, runtime = timed(lambda: opened(kind))
    answer_s, _ = timed(lambda: runtime.features(pixels_1HWC))
    runtime.close()
    return open_s + answer_s


def _weights(spec: BackboneSpec, file: Path | None) -> Weights:
    backbone = build(spec)
    backbone.load(load_pretrained(spec, file))
    return {name: value.numpy() for name, value in backbone.state().items()}


def _written(figures: list[Figure], wishes: argparse.Namespace) -> str:
    table = "\n".join(
        ["| figure | median | spread | aim |", "| --- | --- | --- | --- |", *(one.row for one in figures)]
    )
    title = f"{wishes.backbone}, {wishes.threads} threads, {machine_type()}"
    document = {"title": title, "figures": [asdict(one) for one in figures]}
    wishes.out.parent.mkdir(parents=True, exist_ok=True)
    wishes.out.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    wishes.out.with_suffix(".md").write_text(f"# Bare runtimes\n\n{title}.\n\n{table}\n")
    return table


def _wishes() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default=EMBEDDED_BACKBONE, help="a timm name")
    parser.add_argument("--weights", type=Path, help="a local safetensors file")
    parser.add_argument("--image-size", type=int, help="pixels a side; the weights' own by default")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT, help="without ending: .json and .md are written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
