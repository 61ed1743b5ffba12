"""How the backbone moves in stage 1, one tuner a module."""

from model.tuners.first_task import FirstTaskTuner
from model.tuners.frozen import FrozenTuner
from model.tuners.full import FullTuner

__all__ = ["FirstTaskTuner", "FrozenTuner", "FullTuner"]
