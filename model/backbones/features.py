"""What a network sees in pictures: features in one view or several, each picture decoded and cut when it is due."""

from contextlib import closing
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.backbones.backbone import PixelBackbone, Precision, extract_features
from model.backbones.seen import OTHER_VIEWS, Seen, Views
from model.pixels.ahead import ahead
from model.pixels.preprocess import View, evaluation_view

Floats = NDArray[np.float32]

FEATURE_BATCH = 64


class Images(Protocol):
    """Decoded pictures on demand."""

    def __len__(self) -> int: ...

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Image `index`, H×W×3 RGB."""


class Extraction(Protocol):
    """How features are made of pictures; a `TuningPlan` says it too."""

    @property
    def precision(self) -> Precision:
        """What the network computes in."""

    @property
    def view_threads(self) -> int:
        """Threads that make views ready ahead of the network; they change no figure."""


def features_of(network: PixelBackbone, images: Images, how: Extraction, view: View = evaluation_view) -> Floats:
    """`features_ND` of the evaluation views, or of others."""

    def shown(index: int) -> NDArray[np.uint8]:
        return view(images.pixels(index), network.spec)

    with closing(ahead(shown, range(len(images)), how.view_threads)) as views:
        return extract_features(network, views, batch_size=FEATURE_BATCH, precision=how.precision)


def seen_by(network: PixelBackbone, images: Images, how: Extraction, views: Views = frozenset()) -> Seen:
    """The images in their evaluation views, and in these others."""
    others = {name: features_of(network, images, how, OTHER_VIEWS[name]) for name in sorted(views)}
    return Seen(features_of(network, images, how), others)
