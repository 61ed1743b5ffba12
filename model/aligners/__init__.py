"""How a head over all classes is made after stage 1, one aligner a module."""

from model.aligners.closed_form import ClosedFormAligner
from model.aligners.gaussian import GaussianAligner

__all__ = ["ClosedFormAligner", "GaussianAligner"]
