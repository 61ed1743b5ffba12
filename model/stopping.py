"""How long work is told to stop: it calls a check between its steps, which raises whatever its owner chose."""

from collections.abc import Callable

Check = Callable[[], None]


def unchecked() -> None:
    """For work that nobody stops."""
