"""The figures of all seeds as JSON and as a table in Markdown."""

import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.run import Outcome, Recipe
from model.evaluation import AccuracyMatrix

REFERENCE = {"slow learner alone": (58.1, 67.4), "SLCA": (68.4, 75.0), "linear discriminant": (66.9, 75.3)}
"""Last-Acc and Inc-Acc in percent of an independent implementation with this recipe, means of the three seeds."""


def as_json(outcomes: dict[int, Outcome], recipe: Recipe, command: str) -> dict[str, Any]:
    """Everything that was measured, with what made it."""
    return {
        "command": command,
        "spec": recipe.spec.to_json(),
        "plan": asdict(recipe.plan),
        "machine": {"processor": platform.machine(), "python": platform.python_version()},
        "packages": {name: version(name) for name in ("torch", "timm", "numpy", "scipy")},
        "seeds": {
            str(seed): {
                "seconds": {phase: round(value, 1) for phase, value in outcome.seconds.items()},
                "heads": {name: _matrix(matrix) for name, matrix in outcome.matrices.items()},
            }
            for seed, outcome in outcomes.items()
        },
    }


def as_markdown(outcomes: dict[int, Outcome], recipe: Recipe, command: str) -> str:
    """One row a head: Last-Acc and Inc-Acc of every seed and their means, beside the reference where there is one."""
    seeds = list(outcomes)
    head = ["head", *(f"{seed} Last / Inc" for seed in seeds), "mean Last / Inc", "forgetting", "reference"]
    lines = [
        "# Split CIFAR-100, small size",
        "",
        f"    {command}",
        "",
        f"{recipe.spec.name} at {recipe.spec.image_size} px, 50 training and 50 test images a class, "
        f"{recipe.plan.epochs} epochs, batch {recipe.plan.batch_size}, {recipe.plan.precision}. Figures in percent.",
        "",
        _row(head),
        _row(["---"] * len(head)),
        *(_row(_cells(name, outcomes)) for name in outcomes[seeds[0]].matrices),
        "",
        "Provisional heads are judged before the task's slow learner, on the backbone that the task found.",
        "",
        _row(["seed", *outcomes[seeds[0]].seconds, "total"]),
        _row(["---"] * (2 + len(outcomes[seeds[0]].seconds))),
        *(_row(_times(seed, outcome)) for seed, outcome in outcomes.items()),
        "",
        "Times in seconds.",
        "",
    ]
    return "\n".join(lines)


def write(outcomes: dict[int, Outcome], recipe: Recipe, command: str, out: Path) -> None:
    """`OUT.json` and `OUT.md`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".json").write_text(json.dumps(as_json(outcomes, recipe, command), indent=1) + "\n")
    out.with_suffix(".md").write_text(as_markdown(outcomes, recipe, command))


def _cells(name: str, outcomes: dict[int, Outcome]) -> list[str]:
    matrices = [outcome.matrices[name] for outcome in outcomes.values()]
    pairs = [(100 * matrix.last, 100 * matrix.incremental) for matrix in matrices]
    falls = [matrix.forgetting for matrix in matrices if matrix.forgetting is not None]
    last, incremental = np.mean(pairs, axis=0)
    return [
        name,
        *(f"{one:.1f} / {other:.1f}" for one, other in pairs),
        f"**{last:.1f} / {incremental:.1f}**",
        f"{100 * float(np.mean(falls)):.1f}" if falls else "–",
        "{:.1f} / {:.1f}".format(*REFERENCE[name]) if name in REFERENCE else "–",
    ]


def _times(seed: int, outcome: Outcome) -> list[str]:
    return [str(seed), *(f"{value:.0f}" for value in outcome.seconds.values()), f"{sum(outcome.seconds.values()):.0f}"]


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
