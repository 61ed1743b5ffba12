"""What holds the weights or the answers of earlier tasks, one regulariser a module."""

from model.regularisers.consolidation import Consolidation
from model.regularisers.distillation import Distillation

__all__ = ["Consolidation", "Distillation"]
