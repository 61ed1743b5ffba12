"""The methods by name, each a composition; a new one is one line in the table."""

from collections.abc import Callable
from dataclasses import replace

from model.aligners import (
    BiasCorrectionAligner,
    ClassGaussianAligner,
    ClosedFormAligner,
    GaussianAligner,
    RandomProjectionAligner,
    SubSpaceAligner,
    SubSpaceGaussianAligner,
)
from model.backbones.backbone import PixelBackbone
from model.backbones.seen import OF_DRIFT, OF_STATISTICS
from model.heads.alignment import AlignmentPlan
from model.heads.sample_scale import SampleScale
from model.heads.spread_plan import SpreadPlan
from model.memories import BiasCorrection, DarkExperience, GreedyMemory
from model.method import Method, Tuner
from model.regularisers import Consolidation, Distillation
from model.statistics.drift import RidgeDrift
from model.statistics.shrinkage import FEW_FOR_THE_DIMENSION
from model.training.averaging import EvenAveraging, FisherAveraging
from model.training.stage import Optimisation, SymmetricCrossEntropy
from model.tuners import (
    AdapterTuner,
    ComposedPromptTuner,
    DualPromptTuner,
    FirstTaskTuner,
    FrozenTuner,
    FullTuner,
    HybridTuner,
    LoraTuner,
    PartialTuner,
    PromptPoolTuner,
    PromptTuner,
    ScaleShiftTuner,
    SubSpaceTuner,
)
from model.tuners.insertion import is_vision_transformer

SAMPLES_IN_ALL = 102_400
"""Features that an epoch of the default's alignment draws at most: the paper's 256 of each up to 400 classes."""

WARM_ALIGNER = GaussianAligner(
    AlignmentPlan(samples_in_all=SAMPLES_IN_ALL, few_images=FEW_FOR_THE_DIMENSION),
    on_first_task=True,
    start="discriminant",
)
DEFAULT_ALIGNER = replace(WARM_ALIGNER, spread=SpreadPlan())
"""Of vision transformers on a server."""

PLUS_ALIGNER = GaussianAligner(AlignmentPlan(mean_decay=False, sample_scale=SampleScale()))
PLUS_LEARNER = Method(
    HybridTuner(), objective=SymmetricCrossEntropy(), optimisation=Optimisation(schedule="cosine", floor_lr=None)
)
"""Stage 1 and stage 2 of SLCA++ (method.md 3)."""

PROMPT_STEPS = Optimisation("adam", "constant", lr_per_256=0.03, weight_decay=0.0, clip_norm=1.0)
"""Of the source's configurations for CIFAR-100, L2P's and DualPrompt's alike (method.md 4)."""

EASE_STEPS = Optimisation(schedule="cosine", head_lr=0.025)
"""Of the source's configuration for CIFAR-100 (method.md 4)."""

CODA_STEPS = Optimisation("adam", "quarter_cosine", head_lr=1e-3, weight_decay=0.0)
"""CODA-Prompt's (method.md 4; the schedule is its code's)."""

METHODS: dict[str, Method] = {
    "slca": Method(FullTuner(), GaussianAligner()),
    "sl": Method(FullTuner()),
    "seq_ft": Method(FullTuner(ratio=1.0)),
    "slca++": replace(PLUS_LEARNER, aligner=PLUS_ALIGNER),
    "sl++": PLUS_LEARNER,
    "lora": Method(LoraTuner()),
    "ssf": Method(ScaleShiftTuner(), optimisation=Optimisation(weight_decay=0.0)),
    "bitfit": Method(PartialTuner()),
    "adapter": Method(AdapterTuner()),
    "vpt_shallow": Method(PromptTuner()),
    "vpt_deep": Method(PromptTuner(deep=True, ratio=0.1)),
    "l2p": Method(PromptPoolTuner(), optimisation=PROMPT_STEPS),
    "dualprompt": Method(DualPromptTuner(), optimisation=PROMPT_STEPS),
    "coda_prompt": Method(ComposedPromptTuner(), optimisation=CODA_STEPS),
    "ease": Method(SubSpaceTuner(), SubSpaceAligner(), optimisation=EASE_STEPS),
    "aper": Method(FirstTaskTuner(SubSpaceTuner()), SubSpaceAligner(together=True)),
    "frozen": Method(FrozenTuner(), GaussianAligner()),
    "fixed": Method(FrozenTuner()),
    "joint": Method(FullTuner(), joint=True),
    "ncm": Method(FrozenTuner(), ClosedFormAligner("nearest_mean")),
    "lda": Method(FrozenTuner(), ClosedFormAligner("lda")),
    "sl+ncm": Method(FullTuner(), ClosedFormAligner("nearest_mean")),
    "sl+lda": Method(FullTuner(), ClosedFormAligner("lda")),
    "ewc": Method(FullTuner(), regulariser=Consolidation()),
    "lwf": Method(FullTuner(), regulariser=Distillation(), scope="rows"),
    "der++": Method(FullTuner(), memory=DarkExperience(), scope="seen"),
    "bic": Method(FullTuner(), BiasCorrectionAligner(), memory=BiasCorrection(), scope="seen"),
    "gdumb": Method(FullTuner(), memory=GreedyMemory(), scope="seen", restarts=True),
    "replay_all": Method(FullTuner(), memory=GreedyMemory(capacity=None), scope="seen", restarts=True),
    "ranpac": Method(FirstTaskTuner(FullTuner()), RandomProjectionAligner()),
    "ranpac_frozen": Method(FrozenTuner(), RandomProjectionAligner()),
    "sl+ranpac": Method(FullTuner(), RandomProjectionAligner()),
    "sl+fecam": Method(FullTuner(), ClassGaussianAligner("fecam")),
    "sl+quadratic": Method(FullTuner(), ClassGaussianAligner("quadratic", strength=20.0)),
    "fsa+ncm": Method(FirstTaskTuner(FullTuner()), ClosedFormAligner("nearest_mean")),
    "fsa+lda": Method(FirstTaskTuner(FullTuner()), ClosedFormAligner("lda")),
}
"""`slca` is the paper's, `sl` its slow learner alone, `seq_ft` one large rate for all, `frozen` alignment alone.

`replay_all` is joint training, done anew at each task. `fsa` adapts the backbone to the first task only, as `ranpac`
does; the sums of `sl+ranpac` grow stale as its backbone moves. `aper` sets an adapter of the first task beside the
plain network. `fixed` is `frozen` without alignment. `slca++` is the later paper's, `sl++` its hybrid slow learner
alone.
"""

MODIFIERS: dict[str, Callable[[Method], Method]] = {
    "ca": lambda method: _aligned(method, AlignmentPlan()),
    "ca_plain": lambda method: _aligned(method, AlignmentPlan(logit_norm=False)),
    "ca_shrink": lambda method: _aligned(method, PLUS_ALIGNER.plan),
    "warm": lambda method: replace(method, aligner=WARM_ALIGNER),
    "drift": lambda method: replace(method, drift=RidgeDrift()),
    "slower": lambda method: replace(method, later_pace=LATER_PACE),
    "views": lambda method: replace(method, views=method.views | OF_STATISTICS),
    "turned": lambda method: replace(method, views=method.views | OF_DRIFT),
    "averaging": lambda method: replace(method, tuner=_bolder(method.tuner), averaging=EvenAveraging()),
    "cofima": lambda method: replace(method, tuner=_bolder(method.tuner), averaging=FisherAveraging()),
    "spread": lambda method: _with_spread(method),
    "m2000": lambda method: _projected(method, 2_000),
}
"""What `+` adds to a method: alignment of its heads (`ca_plain`: without logit normalisation; `ca_shrink`: as SLCA++
has it; `warm`: begun from the linear discriminant, after the first task too, each class borrowing of the pooled
covariance by how few its images are for the dimension), statistics carried along (`drift`) and made of two views of
each image (`views`), drift maps fitted on images turned upside down too (`turned`), half the backbone's rates after the
first task (`slower`), weights averaged over tasks, half
and half (`averaging`) or by how much each task's loss depends on them (`cofima`), at three times the rate where the
whole backbone moves, each class's own spread beside an aligned head (`spread`), and 2,000 random projections instead of
10,000."""

ALIGNMENTS = frozenset({"ca", "ca_plain", "ca_shrink", "warm"})
"""The modifiers that put an aligner in the place of a method's own."""

OF_PROJECTIONS = frozenset({"m2000"})
"""Those that change a method's own random projections, of which nothing is left behind an alignment."""

LATER_PACE = 0.5
"""Of `+slower` (chosen on validation images)."""

AVERAGING_SCALE = 3.0
"""Half of each step is taken back, so that the whole backbone may take larger ones (chosen on validation images)."""


NOT_AVERAGED: dict[type[Tuner], str] = {
    FrozenTuner: "a backbone that stands still has nothing to be averaged",
    LoraTuner: "the mean of low-rank pairs, factor by factor, is not that of the weights that they make",
    HybridTuner: "the mean of low-rank pairs, factor by factor, is not that of the weights that they make",
    ScaleShiftTuner: "scales and shifts that are each task's own have nothing to be averaged with",
    ComposedPromptTuner: "components that are each task's own have nothing to be averaged with",
    SubSpaceTuner: "adapters that are each task's own have nothing to be averaged with",
}
"""Why weights of these tuners cannot be averaged over tasks, parameter by parameter."""


def _bolder(tuner: Tuner) -> Tuner:
    if isinstance(tuner, FirstTaskTuner):
        return replace(tuner, tuner=_bolder(tuner.tuner))
    return replace(tuner, scale=AVERAGING_SCALE) if isinstance(tuner, FullTuner) else tuner


def _inner(tuner: Tuner) -> Tuner:
    return tuner.tuner if isinstance(tuner, FirstTaskTuner) else tuner


DEFAULT = "slca+drift+warm+views"
DEFAULT_OF_TRANSFORMERS = "slca+++slower+drift+warm+views+spread"


def default_method(backbone: PixelBackbone) -> str:
    """The name of the method that won where a server could use any on such a network (decisions 0021, 0026)."""
    return DEFAULT_OF_TRANSFORMERS if is_vision_transformer(backbone) else DEFAULT


class UnknownMethod(ValueError):
    """A name that is neither a method nor one with modifiers; the text lists what there is."""


def _aligned(method: Method, plan: AlignmentPlan) -> Method:
    """With its heads aligned by this plan; prototypes in sub-spaces stay, as the heads to begin from."""
    own = method.aligner.prototypes if isinstance(method.aligner, SubSpaceGaussianAligner) else method.aligner
    if isinstance(own, SubSpaceAligner):
        return replace(method, aligner=SubSpaceGaussianAligner(own, plan))
    return replace(method, aligner=GaussianAligner(plan, on_first_task=method.joint))


def _projected(method: Method, size: int) -> Method:
    if not isinstance(method.aligner, RandomProjectionAligner):
        raise UnknownMethod("only methods with random projections can have another number of them")
    return replace(method, aligner=replace(method.aligner, size=size))


def _with_spread(method: Method) -> Method:
    if isinstance(method.aligner, SubSpaceGaussianAligner):
        raise UnknownMethod("+spread stands beside heads of plain features, not of many sub-spaces")
    if not isinstance(method.aligner, GaussianAligner):
        raise UnknownMethod("+spread stands beside heads that sampled features align: name +ca or +warm with it")
    return replace(method, aligner=replace(method.aligner, spread=SpreadPlan()))


def _check_spaces(name: str, method: Method) -> None:
    of_sub_spaces = isinstance(method.aligner, SubSpaceAligner | SubSpaceGaussianAligner)
    if isinstance(_inner(method.tuner), SubSpaceTuner) and not of_sub_spaces:
        raise UnknownMethod(f"{name!r}: there is no discriminant over many sub-spaces to begin from: name +ca")


def _check_averaging(name: str, method: Method) -> None:
    if method.averaging is None:
        return
    reason = NOT_AVERAGED.get(type(_inner(method.tuner)))
    if reason is not None:
        raise UnknownMethod(f"{name!r}: {reason}")
    moves_once = method.joint or method.restarts or isinstance(method.tuner, FirstTaskTuner)
    if moves_once and isinstance(method.averaging, FisherAveraging):
        raise UnknownMethod(f"{name!r}: no second task goes on from a first one's weights, to be averaged with them")


def method_named(name: str) -> Method:
    """The method of a name as `slca`, `slca+drift` or `l2p+ca`; raises UnknownMethod.

    Whatever their place in the name, those of random projections come first, which only a method's own aligner has;
    then aligners, so that what others change of them is not lost.
    """
    base, modifiers = taken_apart(name)
    found = METHODS[base]
    for modifier in sorted(modifiers, key=lambda one: (one not in OF_PROJECTIONS, one not in ALIGNMENTS)):
        found = MODIFIERS[modifier](found)
    _check_spaces(name, found)
    _check_averaging(name, found)
    return found


def taken_apart(name: str) -> tuple[str, list[str]]:
    """The name in the table and the modifiers: `sl+lda` and `drift` of `sl+lda+drift`; raises UnknownMethod."""
    parts = name.split("+")
    for length in range(len(parts), 0, -1):
        base, modifiers = "+".join(parts[:length]), parts[length:]
        if base in METHODS and all(part in MODIFIERS for part in modifiers):
            return base, modifiers
    raise UnknownMethod(
        f"there is no method {name!r}: it is one of {', '.join(METHODS)}, each with any of "
        + ", ".join(f"+{modifier}" for modifier in MODIFIERS)
    )


def with_alignment(name: str) -> str:
    """The name of the same method with its head aligned, as `l2p+ca`, and `ranpac+ca` of `ranpac+m2000`; raises
    UnknownMethod for a name that is no method's.
    """
    base, modifiers = taken_apart(name)
    found = "+".join([base, *(one for one in modifiers if one not in OF_PROJECTIONS), "ca"])
    method_named(found)
    return found
