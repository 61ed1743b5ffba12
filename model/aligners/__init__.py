"""How a head over all classes is made after stage 1, one aligner a module."""

from model.aligners.bias_correction import BiasCorrectionAligner
from model.aligners.class_gaussians import ClassGaussianAligner
from model.aligners.closed_form import ClosedFormAligner
from model.aligners.gaussian import GaussianAligner
from model.aligners.random_projection import RandomProjectionAligner
from model.aligners.sub_space_gaussian import SubSpaceGaussianAligner
from model.aligners.sub_spaces import SubSpaceAligner

__all__ = [
    "BiasCorrectionAligner",
    "ClassGaussianAligner",
    "ClosedFormAligner",
    "GaussianAligner",
    "RandomProjectionAligner",
    "SubSpaceAligner",
    "SubSpaceGaussianAligner",
]
