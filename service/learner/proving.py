"""Before a stored version serves it is read back, opened and asked: which runtime answers as the learner did?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.judging.agreement import WIDEST_FLIP, judge
from model.runtime import RuntimeKind, RuntimeUnavailable
from model.served import ServedModel, open_served
from service.learner.device import loses_device
from service.learner.runtimes import instead_of
from service.learner.workshop import Workshop
from stream.manifest import Manifest, load_manifest, load_parts


@dataclass(frozen=True, eq=False)
class Question:
    """Pictures as the graph takes them, and what the learner itself makes of them."""

    pixels_BHWC: NDArray[np.uint8]
    logits_NC: NDArray[np.float32]


@dataclass(frozen=True)
class Proof:
    """`runtime` answers right, None where none does; `trouble` is what the one that was chosen first does wrong."""

    runtime: RuntimeKind | None
    trouble: str | None


def proven(workshop: Workshop, manifest: Manifest, chosen: RuntimeKind, question: Question | None) -> Proof:
    """Tries the chosen runtime on the version as it is stored, and slower ones where it does not answer right.

    Raises NotFound, DamagedBlob and Unavailable of the blobs, and whatever the last of them raises when it is asked.
    """
    stored = load_manifest(workshop.blobs, manifest.digest)
    parts = load_parts(workshop.blobs, stored, stored.parts)
    kinds = [chosen, *instead_of(workshop, manifest.description["graph_key"], chosen)]
    trouble = None
    for kind in kinds:
        try:
            found = _trouble(workshop, parts, manifest, kind, question)
        except Exception as error:
            # Where the last one fails too it is the machine's trouble, not the version's: the task may be tried again.
            if kind == kinds[-1] or loses_device(error):
                raise
            found = f"{kind} does not run: {error}"
        if found is None:
            return Proof(kind, trouble)
        trouble = trouble or found
    return Proof(None, trouble)


def _trouble(
    workshop: Workshop, parts: Mapping[str, bytes], manifest: Manifest, kind: RuntimeKind, question: Question | None
) -> str | None:
    try:
        served = open_served(parts, manifest.description, kind=kind, threads=workshop.settings.serve.threads)
    except RuntimeUnavailable:
        # What this machine lacks is no fault of the version, which serves once it is there.
        raise
    except Exception as error:
        if loses_device(error):
            raise
        return f"it does not load: {error}"
    try:
        served.warm()
        return None if question is None else _disagreement(served, kind, question)
    finally:
        served.close()


def _disagreement(served: ServedModel, kind: RuntimeKind, question: Question) -> str | None:
    found = judge(kind, question.logits_NC, served.logits(question.pixels_BHWC), images_per_s=0.0)
    if found.worst_margin_flip <= WIDEST_FLIP:
        return None
    return f"{kind} answers otherwise than the learner on some of {len(question.pixels_BHWC)} images"
