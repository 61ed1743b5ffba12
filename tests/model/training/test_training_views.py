"""Both ways to make training views show the same parts of the same pictures."""

import numpy as np
import pytest
import torch

from model.backbones.backbone import build
from model.backbones.features import features_of
from model.backbones.spec import BackboneSpec
from model.pixels.augmentation import AUGMENTATIONS
from model.pixels.preprocess import View, evaluation_view, middle_view
from model.training.training_views import OnDevice, OnHost, TrainingViews
from model.training.tuning import TuningPlan
from tests.model.pictures import Pictures, made

SPEC = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3, crop_fraction=0.875)
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", [*AUGMENTATIONS, "none"])
def test_a_device_makes_the_views_that_the_host_makes(name: str) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, size).astype(np.uint8) for size in [(32, 32, 3), (60, 50, 3), (40, 111, 3)] * 8]
    views = []
    for maker in (OnHost(SPEC, name), OnDevice(SPEC, name, CPU)):
        prepared = [maker.prepared(one, np.random.default_rng(number)) for number, one in enumerate(pictures)]
        views.append(maker.batch(prepared).int())
    on_host, on_device = views
    assert on_host.shape == on_device.shape == (24, 32, 32, 3)
    off = (on_host - on_device).abs()
    # A brighter byte that was one off is up to 1.25 off before it is cut to a whole one.
    assert off.max() <= (2 if AUGMENTATIONS.get(name) and AUGMENTATIONS[name].brightness else 1)
    assert (off > 0).float().mean() < 0.01


@pytest.mark.parametrize("threads", [0, 2])
def test_views_depend_on_seed_epoch_and_image_alone(threads: int) -> None:
    shown, _ = made(range(3), 7)
    images = Pictures(shown, np.zeros(21, np.int64))
    whole, part = [np.arange(12), np.arange(12, 21)], [np.array([20, 3])]

    def views(seed: int, epoch: int, batches: list[np.ndarray]) -> list[torch.Tensor]:
        made_of = TrainingViews(images, SPEC, "crop_flip", seed, threads, CPU)
        prepared = made_of.prepared(epoch, batches)
        return [view for batch_B in batches for view in made_of.batch(prepared, len(batch_B))]

    expected = views(1, 0, whole)
    assert torch.equal(views(1, 0, part)[0], expected[20]) and torch.equal(views(1, 0, part)[1], expected[3])
    assert not torch.equal(views(2, 0, part)[0], expected[20])
    assert not torch.equal(views(1, 1, part)[0], expected[20])


@pytest.mark.parametrize("view", [evaluation_view, middle_view])
def test_features_are_the_same_however_many_threads_make_views_ready(view: View) -> None:
    shown, _ = made(range(3), 7)
    images, network = Pictures(shown, np.zeros(21, np.int64)), build(SPEC)
    alone, together = (features_of(network, images, TuningPlan(view_threads=count), view) for count in (0, 3))
    np.testing.assert_array_equal(together, alone)
