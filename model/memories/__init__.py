"""Images that are kept from task to task, one memory a module."""

from model.memories.bias_correction import BiasCorrection
from model.memories.dark_experience import DarkExperience
from model.memories.greedy import GreedyMemory

__all__ = ["BiasCorrection", "DarkExperience", "GreedyMemory"]
