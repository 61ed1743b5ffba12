"""The figures of all seeds as JSON, and as a table in Markdown made from it."""

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.run import Outcome
from everclass.bench.course import Course
from everclass.bench.prepared import Prepared
from model.judging.evaluation import AccuracyMatrix

REFERENCE = {
    "slow learner alone": (58.1, 67.4),
    "SLCA": (68.4, 75.0),
    "linear discriminant": (66.9, 75.3),
    "nearest mean": (65.1, 73.5),
}
"""Last-Acc and Inc-Acc in percent of an independent implementation with this recipe, means of the three seeds."""

Results = dict[str, Any]


def check_recipe(course: Course, prepared: Prepared, out: Path) -> None:
    """Raises ValueError where `OUT.json` holds seeds of another recipe, naming what differs."""
    before, recipe = _read(out.with_suffix(".json")), _recipe(course, prepared)
    if before is None or before["recipe"] == recipe:
        return
    others = [name for name, value in recipe.items() if before["recipe"].get(name) != value]
    raise ValueError(f"--out: {out}.json is of another recipe ({', '.join(others)}): name another file")


def add(outcome: Outcome, course: Course, prepared: Prepared, command: str, out: Path) -> Results:
    """Writes `OUT.json` and `OUT.md` with this seed's figures beside those of other seeds of the same recipe
    (`check_recipe`).
    """
    before = _read(out.with_suffix(".json"))
    results: Results = {"recipe": _recipe(course, prepared), "seeds": before["seeds"] if before else {}}
    results["seeds"][str(course.seed)] = {
        "command": command,
        "machine": {"processor": platform.machine(), "python": platform.python_version()},
        "packages": {name: version(name) for name in ("torch", "timm", "numpy", "scipy")},
        "seconds": {phase: round(value, 1) for phase, value in outcome.seconds.items()},
        "heads": {name: _matrix(matrix) for name, matrix in outcome.matrices.items()},
    }
    results["seeds"] = dict(sorted(results["seeds"].items()))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    out.with_suffix(".md").write_text(as_markdown(results))
    return results


def as_markdown(results: Results) -> str:
    """One row a head: Last-Acc and Inc-Acc of every seed and their means, beside the reference where there is one."""
    seeds, recipe = results["seeds"], results["recipe"]
    spec, plan = recipe["spec"], recipe["plan"]
    first = next(iter(seeds.values()))
    head = ["head", *(f"{seed} Last / Inc" for seed in seeds), "mean Last / Inc", "forgetting", "reference"]
    lines = [
        "# Split CIFAR-100, small size",
        "",
        *dict.fromkeys(f"    {one['command']}" for one in seeds.values()),
        "",
        f"{spec['name']} at {spec['image_size']} px, {recipe['train_images']} training images, {recipe['test_images']} "
        f"test images, {recipe['tasks']} tasks, {plan['epochs']} epochs, batch {plan['batch_size']}, "
        f"{plan['precision']}. Figures in percent.",
        "",
        _row(head),
        _row(["---"] * len(head)),
        *(_row(_cells(name, list(seeds.values()))) for name in first["heads"]),
        "",
        "The discriminant before tuning is judged on the backbone that the task found. "
        "`carried` heads move the statistics of old classes along with the backbone (`model/statistics/drift.py`).",
        "",
        _row(["seed", *first["seconds"], "total"]),
        _row(["---"] * (2 + len(first["seconds"]))),
        *(_row(_times(seed, one["seconds"])) for seed, one in seeds.items()),
        "",
        "Times of SLCA in seconds; they depend on what else the machine does.",
        "",
    ]
    return "\n".join(lines)


def _recipe(course: Course, prepared: Prepared) -> Results:
    training, dataset = prepared.training, prepared.dataset
    return {
        "spec": json.loads(json.dumps(training.spec.to_json())),
        "plan": json.loads(json.dumps(asdict(training.plan(0, 0)))),
        "tasks": len(course.lessons),
        "train_images": len(dataset.train),
        "test_images": len(dataset.test),
    }


def _read(path: Path) -> Results | None:
    if not path.is_file():
        return None
    results: Results = json.loads(path.read_text())
    return results


def _cells(name: str, seeds: list[dict[str, Any]]) -> list[str]:
    heads = [one["heads"][name] for one in seeds]
    pairs = [(100 * head["last"], 100 * head["inc"]) for head in heads]
    falls = [head["forgetting"] for head in heads if head["forgetting"] is not None]
    last, incremental = np.mean(pairs, axis=0)
    return [
        name,
        *(f"{one:.1f} / {other:.1f}" for one, other in pairs),
        f"**{last:.1f} / {incremental:.1f}**",
        f"{100 * float(np.mean(falls)):.1f}" if falls else "–",
        "{:.1f} / {:.1f}".format(*REFERENCE[name]) if name in REFERENCE else "–",
    ]


def _times(seed: str, seconds: dict[str, float]) -> list[str]:
    return [seed, *(f"{value:.0f}" for value in seconds.values()), f"{sum(seconds.values()):.0f}"]


def _matrix(matrix: AccuracyMatrix) -> dict[str, Any]:
    rows = [row[: k + 1].round(4).tolist() for k, row in enumerate(matrix.accuracy_TT)]
    return {
        "last": round(matrix.last, 4),
        "inc": round(matrix.incremental, 4),
        "forgetting": matrix.forgetting,
        "backward_transfer": matrix.backward_transfer,
        "overall": matrix.overall_T.round(4).tolist(),
        "accuracy": rows,
    }


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
