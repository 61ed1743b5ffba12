"""How the backbone moves in stage 1, one tuner a module."""

from model.tuners.adapter import AdapterTuner
from model.tuners.composed_prompts import ComposedPromptTuner
from model.tuners.dual_prompt import DualPromptTuner
from model.tuners.first_task import FirstTaskTuner
from model.tuners.frozen import FrozenTuner
from model.tuners.full import FullTuner
from model.tuners.hybrid import HybridTuner
from model.tuners.insertion import UnfitBackbone
from model.tuners.lora import LoraTuner
from model.tuners.partial import PartialTuner
from model.tuners.prompt_pool import PromptPoolTuner
from model.tuners.prompts import PromptTuner
from model.tuners.ssf import ScaleShiftTuner
from model.tuners.sub_spaces import SubSpaceTuner

__all__ = [
    "AdapterTuner",
    "ComposedPromptTuner",
    "DualPromptTuner",
    "FirstTaskTuner",
    "FrozenTuner",
    "FullTuner",
    "HybridTuner",
    "LoraTuner",
    "PartialTuner",
    "PromptPoolTuner",
    "PromptTuner",
    "ScaleShiftTuner",
    "SubSpaceTuner",
    "UnfitBackbone",
]
