"""An image size that a network does not take is told before anything is built for it."""

import resource
from dataclasses import replace

import pytest

from model.backbones.backbone import WeightsError, build
from model.backbones.image_size import refusal_of_size
from tests.model.conftest import small_spec


def refusal(name: str, size: int) -> str | None:
    return refusal_of_size(replace(small_spec("test_vit"), name=name, image_size=size))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("test_vit", 16),
        ("test_vit", 96),
        ("vit_tiny_patch16_224", 112),
        ("vit_base_patch14_dinov2", 224),
        ("pvt_v2_b0", 64),
        ("test_efficientnet", 33),
        ("test_convnext", 32),
        ("resnet18", 17),
    ],
)
def test_what_a_network_takes_is_not_refused(name: str, size: int) -> None:
    assert refusal(name, size) is None


@pytest.mark.parametrize(
    ("name", "size", "others", "patch"),
    [
        ("test_vit", 63, "48 or 64", 16),
        ("test_vit", 17, "16 or 32", 16),
        ("vit_tiny_patch16_224", 33, "32 or 48", 16),
        ("vit_tiny_patch16_224", 40, "32 or 48", 16),
        ("swin_tiny_patch4_window7_224", 33, "32 or 36", 4),
        ("mixer_s16_224", 40, "32 or 48", 16),
        ("nest_tiny", 33, "32", 4),
    ],
)
def test_patches_cover_the_whole_image(name: str, size: int, others: str, patch: int) -> None:
    told = f"{name} takes no images of {size} pixels a side, but of {others}: rows of pixels would lie in none of its "
    assert refusal(name, size) == f"{told}patches of {patch}"


@pytest.mark.parametrize(
    ("name", "size", "others"),
    [("test_maxvit", 112, "96 or 128"), ("efficientformer_l1", 112, "224"), ("nest_tiny", 40, "224")],
)
def test_what_the_network_itself_refuses_is_told_in_a_line(name: str, size: int, others: str) -> None:
    told = refusal(name, size)
    assert told is not None and "\n" not in told
    assert told.startswith(f"{name} takes no images of {size} pixels a side, but of {others}: ")


def test_a_network_that_was_made_at_such_a_size_is_still_built() -> None:
    spec = replace(small_spec("test_vit"), name="vit_tiny_patch16_224", image_size=40)
    assert refusal_of_size(spec) is not None
    build(spec).load(build(spec).state())


def test_an_unknown_name_has_no_size() -> None:
    with pytest.raises(WeightsError, match="knows no backbone"):
        refusal("no_such_net", 64)


def test_the_size_is_judged_without_the_memory_that_the_network_takes() -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert refusal("vit_gigantic_patch14_224", 224) is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 1 << 19
