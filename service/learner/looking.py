"""Images through a backbone: features of a task's images and of held-out ones, in fp32 as the server computes them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from model.backbones.backbone import build, extract_features
from model.backbones.spec import BackboneSpec
from model.pixels.ahead import threads_beside
from model.pixels.preprocess import View, evaluation_view
from service.learner.heldout import HeldOutImage
from service.learner.pictures import Pictures
from service.learner.workshop import Workshop

FEATURE_BATCH_CPU = 16
FEATURE_BATCH_GPU = 256

Features = NDArray[np.float32]


class Looking:
    """One network, into which the weights of any version of a lineage are loaded in turn."""

    def __init__(self, workshop: Workshop, spec: BackboneSpec, device: str, threads: int) -> None:
        """`threads` make pictures ready where the network runs on a GPU."""
        self._blobs = workshop.blobs
        self._max_pixels = workshop.settings.limits.max_pixels
        self._backbone = build(spec).to(device)
        self._threads = threads_beside(device, threads)
        self._batch = FEATURE_BATCH_GPU if device == "cuda" else FEATURE_BATCH_CPU

    def pictures(self, images: Sequence[HeldOutImage]) -> Pictures:
        """The images, to be decoded one by one."""
        pairs = [(image.task, image.item) for image in images]
        return Pictures(self._blobs, pairs, max_pixels=self._max_pixels)

    def features(
        self,
        weights: Mapping[str, Tensor],
        images: Sequence[HeldOutImage],
        on_share: Callable[[float], None],
        views: Sequence[View] = (evaluation_view,),
    ) -> list[Features]:
        """`features_ND` in each view through a backbone of these weights; `on_share` is told what part is done."""
        self._backbone.load(weights)
        with closing(self.pictures(images).views(self._backbone.spec, views, self._threads)) as shown:
            features_ND = extract_features(
                self._backbone,
                shown,
                batch_size=self._batch,
                on_batch=lambda done: on_share(done / (len(images) * len(views))),
            )
        return [features_ND[number :: len(views)] for number in range(len(views))]
