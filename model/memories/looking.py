"""What a network sees in the pictures that a memory asks it about."""

import numpy as np
from numpy.typing import NDArray

from model.backbone import PixelBackbone, Precision, extract_features
from model.preprocess import evaluation_view
from model.stage import LabelledImages

FEATURE_BATCH = 64


def evaluation_features(network: PixelBackbone, images: LabelledImages, precision: Precision) -> NDArray[np.float32]:
    """`features_ND` of the images' evaluation views."""
    views = (evaluation_view(images.pixels(index), network.spec) for index in range(len(images)))
    return extract_features(network, views, batch_size=FEATURE_BATCH, precision=precision)
