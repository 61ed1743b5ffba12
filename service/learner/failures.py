"""Why a task failed, in words for whoever sent it."""

from model.backbones.backbone import WeightsError
from model.backbones.export import NotExportable
from model.forgetting import CannotForget
from model.methods import UnknownMethod
from model.runtime.interface import ServingError
from model.snapshot import SnapshotError
from model.statistics.class_statistics import NotFinite
from model.tuners.insertion import UnfitBackbone
from service.learner.reporter import Diverged
from stream.errors import StreamError


class Refusal(Exception):
    """The task cannot be done as it was asked for; the message is a sentence for whoever asked."""


ASKED_FOR = (Refusal, CannotForget)
"""Nothing is wrong with the learner where these are raised."""

IN_SENTENCES = (
    *ASKED_FOR,
    Diverged,
    NotExportable,
    NotFinite,
    ServingError,
    SnapshotError,
    StreamError,
    UnfitBackbone,
    UnknownMethod,
    WeightsError,
)
"""Our own errors, which say what happened in a sentence; of any other its kind says more than its words."""


def reason_of(error: Exception) -> str:
    """The `reason` of a task that failed with this error."""
    told = str(error)
    return told if told and isinstance(error, IN_SENTENCES) else f"{type(error).__name__}: {told}"
