"""What is shown while a comparison runs: which run it is, how far it is, and for how long."""

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from everclass.bench.chain import Listener
from model.training.tuning import TuningProgress

BAR_WIDTH = 12
"""Characters: a line of 80 has room for what the bar is about."""


class Bars(Progress):
    """The bar of the run that is under way. Where it gets narrow the methods' name gives way, and nothing else."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.fields[first]}", table_column=Column(overflow="ellipsis")),
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(BAR_WIDTH, table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
        )

    def listener(self, names: str, seed: int, tasks: int) -> Listener:
        """Of the next run, whose bar takes the place of the one before: a terminal has no room for all that ended."""
        first, *others = names.split()
        run = f"and {len(others)} more, seed {seed}" if others else f"seed {seed}"
        for ended in self.task_ids:
            self.remove_task(ended)
        bar = self.add_task(run, total=tasks, first=first)

        def step(task: int, told: TuningProgress) -> None:
            self.update(bar, completed=task + told.step / told.steps)

        def phase(task: int, name: str) -> None:
            self.update(bar, description=f"{run}, task {task + 1} of {tasks}: {name}")

        def finished(task: int, accuracy: Mapping[str, float]) -> None:
            self.update(bar, completed=task + 1)
            figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in accuracy.items())
            self.console.print(f"seed {seed}, after task {task + 1}: {figures}", highlight=False)

        def notice(text: str) -> None:
            self.console.print(f"{names}, seed {seed}: {text}", highlight=False)

        return Listener(step, phase, finished, notice)
