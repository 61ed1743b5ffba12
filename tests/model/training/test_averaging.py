"""CoFiMA: each weight lies between its old and its new value, nearer to that which its task depends on more."""

from dataclasses import replace

import pytest
import torch

from model.method import Method
from model.methods import METHODS, UnknownMethod, method_named
from model.training.averaging import FisherAveraging
from model.tuners import FrozenTuner, FullTuner
from tests.model.check_method import PLAN, Lineage

NAME = "network.blocks.0.attn.qkv.weight"


def test_each_weight_is_mixed_by_its_own_importances() -> None:
    before = {"w": torch.tensor([0.0, 0.0, 4.0, 1.0]), "frozen": torch.tensor([1.0])}
    tuned = {"w": torch.tensor([1.0, 1.0, 0.0, 3.0]), "frozen": torch.tensor([1.0]), "added": torch.tensor([7.0])}
    old, new = {"w": torch.tensor([3.0, 0.0, 1.0, 0.0])}, {"w": torch.tensor([1.0, 2.0, 1.0, 0.0])}
    mixed = FisherAveraging(0.25).mixed(before, tuned, old, new)
    torch.testing.assert_close(mixed["w"], torch.tensor([0.25 / 2.5, 1.0, 3.0, 1.5]))
    assert mixed["frozen"].item() == 1.0 and mixed["added"].item() == 7.0


def test_the_second_task_is_mixed_with_the_first_and_its_own_importance_is_kept() -> None:
    averaged = Lineage(Method(FullTuner(), averaging=FisherAveraging(0.4, ceiling=1e-2)))
    plain = Lineage(Method(FullTuner()))
    first = averaged.learn([0, 1, 2])
    tuned = plain.learn([0, 1, 2])
    assert torch.equal(first.backbone[NAME], tuned.backbone[NAME]) and tuned.kept == {}
    plain.last = averaged.last
    second, tuned = averaged.learn([3, 4]), plain.learn([3, 4])
    old, new = (version.kept[f"averaging/{NAME}"].double() for version in (first, second))
    assert float(old.min()) >= 0 and float(old.max()) <= 1e-2 and not torch.equal(old, new)
    before, after = first.backbone[NAME].double(), tuned.backbone[NAME].double()
    wanted = (0.4 * new * after + 0.6 * old * before) / (0.4 * new + 0.6 * old)
    torch.testing.assert_close(second.backbone[NAME].double(), wanted, atol=1e-6, rtol=1e-4)
    assert not torch.allclose(wanted, (before + after) / 2, atol=1e-6, rtol=0)


def test_importance_stays_where_nothing_moves() -> None:
    lineage = Lineage(Method(FullTuner(), averaging=FisherAveraging()))
    kept = lineage.learn([0, 1]).kept
    for method, classes in ((lineage.method, [5]), (Method(FrozenTuner(), averaging=FisherAveraging()), [6, 7])):
        lineage.method = method
        version = lineage.learn(classes)
        assert version.kept.keys() == kept.keys() and all(torch.equal(version.kept[name], kept[name]) for name in kept)


def test_it_is_a_modifier_at_the_rate_of_even_averaging() -> None:
    method = method_named("slca+drift+cofima")
    assert method.averaging == FisherAveraging(0.5, 1e-4) and method.tuner == FullTuner(scale=3.0)
    assert method.aligner == METHODS["slca"].aligner and method.refusals() == []


ALLOWED = {
    "averaging": (
        "sl",
        "bitfit",
        "adapter",
        "vpt_shallow",
        "vpt_deep",
        "l2p",
        "dualprompt",
        "fsa+ncm",
        "gdumb",
        "joint",
    ),
    "cofima": ("sl", "bitfit", "adapter", "vpt_shallow", "vpt_deep", "l2p", "dualprompt"),
}


@pytest.mark.parametrize("name", [f"{name}+{modifier}" for modifier, names in ALLOWED.items() for name in names])
def test_averaging_changes_what_a_method_makes(name: str) -> None:
    method = method_named(name)
    lineages = [Lineage(one, replace(PLAN, epochs=1)) for one in (method, replace(method, averaging=None))]
    averaged, plain = ([lineage.learn(classes, 4) for classes in ([0, 1], [2, 3])][1] for lineage in lineages)
    weights = [
        {**version.backbone, **{key: value for key, value in version.kept.items() if key.startswith("tuner/")}}
        for version in (averaged, plain)
    ]
    assert weights[0].keys() == weights[1].keys()
    assert any(not torch.equal(tensor, weights[1][key]) for key, tensor in weights[0].items())


@pytest.mark.parametrize("modifier", ALLOWED)
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("frozen", "stands still"),
        ("lora", "not that of the weights"),
        ("slca++", "not that of the weights"),
        ("ssf", "scales and shifts that are each task's own"),
        ("coda_prompt", "components that are each task's own"),
        ("ease", "nothing to be averaged"),
        ("aper", "nothing to be averaged"),
    ],
)
def test_what_is_no_weight_that_goes_on_is_not_averaged(name: str, reason: str, modifier: str) -> None:
    with pytest.raises(UnknownMethod, match=reason):
        method_named(f"{name}+{modifier}")


@pytest.mark.parametrize("name", ["ranpac", "fsa+lda", "gdumb", "joint"])
def test_importances_need_a_second_task_that_goes_on(name: str) -> None:
    with pytest.raises(UnknownMethod, match="no second task"):
        method_named(f"{name}+cofima")
