"""The constants of "SLCA: Slow Learner with Classifier Alignment" (ICCV 2023), each with where it comes from.

The paper's public code is the source where the text is silent; "stage 1" is the slow learner, "stage 2" the alignment.
"""

from typing import Final

SEEDS: Final = (1993, 1996, 1997)
"""Class orders of the three runs (code: `exps/slca/*.json`)."""

HEAD_RATE: Final = 0.01
"""Learning rate of the current task's head (section 3.2, slow learner)."""

BACKBONE_RATIO: Final = 0.01
"""Backbone rate over head rate, ρ: 1e-4 against 1e-2 (section 3.2)."""

MOMENTUM: Final = 0.9
"""Of SGD, in both stages (section 4.1)."""

WEIGHT_DECAY: Final = 5e-4
"""Of SGD, in both stages, on every parameter that moves (code: `models/slca.py`)."""

BATCH: Final = 128
"""Images a step of stage 1 (section 4.1)."""

EPOCHS: Final = 20
"""Of stage 1 on CIFAR-100 with supervised pre-training (section 4.1)."""

MILESTONE: Final = 18
"""Epoch of stage 1 after which both rates fall by `GAMMA` (section 4.1)."""

GAMMA: Final = 0.1
"""Factor of the rates at a milestone (code: `models/slca.py`)."""

HEAD_STD: Final = 0.02
"""Deviation of the truncated normal that a new head starts from; its bias starts at 0 (code: `convs/linears.py`)."""

ALIGNMENT_EPOCHS: Final = 5
"""Of stage 2 (section 4.1)."""

SAMPLES_PER_CLASS: Final = 256
"""Features drawn from each class's Gaussian in each epoch of stage 2 (section 3.3)."""

ALIGNMENT_BATCH: Final = 256
"""Sampled features a step of stage 2 (code: `models/slca.py`)."""

ALIGNMENT_RATE: Final = 0.01
"""First rate of stage 2, which falls along a cosine, epoch by epoch (code: `models/slca.py`)."""

TEMPERATURE: Final = 0.1
"""τ of the logit normalisation (section 3.3, equation 5; 0.05 on Cars-196)."""

NORM_FLOOR: Final = 1e-7
"""Added to each block's logit norm (code: `models/slca.py`)."""

MEAN_DECAY: Final = 0.1
"""How far the mean of the oldest block is scaled down: s = 1 − 0.1 + 0.1·t(c)/k (code: `models/slca.py`)."""

RIDGE: Final = 1e-4
"""Added to the diagonal of every class covariance (code: `models/base.py`)."""

PLUS_FLOOR: Final = 0.1
"""SLCA++: stage 1's cosine ends at 0.1·0.1^(number of milestones) of the head's rate (code: `models/slca_pp.py`)."""

PLUS_SHRINK: Final = (0.01, 0.03)
"""SLCA++: how much a sampled feature shrinks for each task since its class's (code: `models/slca_pp.py`)."""
