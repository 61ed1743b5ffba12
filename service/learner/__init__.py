"""The learner process: claims tasks, learns them, publishes versions."""

from service.learner.process import run

__all__ = ["run"]
