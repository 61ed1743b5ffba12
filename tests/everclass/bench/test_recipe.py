"""The reference's settings, and what limits make of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from everclass.bench.recipe import RECIPES, Recipe, Training, recipe_of
from everclass.bench.request import BenchRequest, aligned
from model.aligners import GaussianAligner
from model.backbones.backbone import known_settings
from model.methods import DEFAULT, DEFAULT_OF_TRANSFORMERS, METHODS, UnknownMethod, method_named
from model.pixels.augmentation import AUGMENTATIONS
from model.training.stage import Optimisation, SymmetricCrossEntropy
from model.tuners import DualPromptTuner
from stream.protocols import PROTOCOLS, Schedule


def test_the_references_recipes() -> None:
    cifar = recipe_of("cifar100")
    assert (cifar.epochs, cifar.milestones, cifar.tau, cifar.batch, cifar.norm) == (20, (18,), 0.1, 128, "fresh")
    cars = recipe_of("cars196")
    assert (cars.epochs, cars.milestones, cars.tau) == (50, (40,), 0.05)
    assert recipe_of("a folder of mine") == Recipe(50, (40,))
    assert recipe_of("imagenet_r") == Recipe(50, (40,), symmetric=(0.5, 0.5), plus_weight_decay=0.0)
    assert {recipe.augmentation for recipe in RECIPES.values()} <= set(AUGMENTATIONS)


@pytest.mark.parametrize(("epochs", "milestone"), [(20, 18), (4, 3), (1, 1), (2, 1), (10, 9)])
def test_fewer_epochs_keep_the_milestone_at_its_part(epochs: int, milestone: int) -> None:
    short = recipe_of("cifar100").shortened(epochs)
    assert (short.epochs, short.milestones) == (epochs, (milestone,))


def test_a_plan_for_each_task_has_seeds_of_its_own() -> None:
    recipe = recipe_of("cifar100").small()
    training = Training(recipe.spec("test_vit", 32), recipe)
    assert recipe.batch == 32 and training.spec.norm == "pretrained" and training.spec.mean == (0.5,) * 3
    assert training.plan(1993, 0).seed != training.plan(1993, 1).seed
    assert training.plan(1993, 0).batch_size == 32


def test_the_protocols_temperature_reaches_every_alignment() -> None:
    recipe = recipe_of("cars196")
    training = Training(recipe.spec("test_vit", 32), recipe)
    aligner = training.adjusted(method_named("slca")).aligner
    assert isinstance(aligner, GaussianAligner) and aligner.plan.tau == 0.05
    assert training.adjusted(method_named("sl")) == method_named("sl")
    assert training.adjusted(method_named("sl+lda")) == method_named("sl+lda")


def test_milestones_keep_their_part_too() -> None:
    assert Recipe(90, (60, 80)).shortened(9).milestones == (6, 8)
    assert Recipe(90, (60, 80)).shortened(2).milestones == (1,)


def test_the_weights_own_normalisation_is_what_timm_says() -> None:
    own = recipe_of("cifar100").small().spec("vit_small_patch14_dinov2", 56)
    assert (own.mean, own.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    request = BenchRequest("cifar100", Path(), ("slca",), backbone="test_vit", normalise="weights", norm="pretrained")
    spec = request.training().spec
    assert (spec.mean, spec.norm, spec.crop_fraction) == ((0.5,) * 3, "pretrained", 0.875)
    plain = BenchRequest("cifar100", Path(), ("slca",), backbone="test_vit").training().spec
    assert (plain.mean, plain.norm) == ((0.5071, 0.4867, 0.4408), "fresh")


def test_features_are_the_weights_own_unless_asked_otherwise() -> None:
    request = BenchRequest("cifar100", Path(), ("slca",), backbone="test_vit")
    assert request.training().spec.pooling == "pretrained"
    assert replace(request, pooling="token+avg").training().spec.pooling == "token+avg"


def test_seeds_of_two_gpus_are_of_one_configuration_and_those_of_a_cpu_are_not() -> None:
    recipe = recipe_of("cifar100").small()
    training = Training(recipe.spec("test_vit", 32), recipe)
    told = {name: replace(training, device=name).describe() for name in ("cpu", "cuda", "cuda:0", "cuda:1")}
    assert told["cuda"] == told["cuda:0"] == told["cuda:1"] == told["cpu"] | {"device": "cuda"}
    assert told["cpu"]["device"] == "cpu"


def test_the_default_backbone_saw_imagenet_21k_alone() -> None:
    settings = known_settings(BenchRequest("cifar100", Path(), ("slca",)).backbone)
    assert settings.num_classes == 21_843


def test_milestones_may_be_named() -> None:
    request = BenchRequest("cars196", Path(), ("slca++",), epochs=90, milestones=(60, 80), backbone="test_vit")
    training = request.training()
    assert training.plan(1993, 0).milestones == (60, 80) and training.describe()["milestone"] == [60, 80]


@pytest.mark.parametrize(("protocol", "rate", "expert"), [("cifar100", 0.03, 5), ("imagenet_r", 0.005, 20)])
def test_dual_prompt_has_its_settings_of_each_protocol(protocol: str, rate: float, expert: int) -> None:
    recipe = recipe_of(protocol).small()
    training = Training(recipe.spec("test_vit", 32), recipe)
    method = training.adjusted(method_named("dualprompt+ca"))
    assert isinstance(method.tuner, DualPromptTuner)
    assert (method.optimisation.lr_per_256, method.tuner.expert) == (rate, expert)
    told = {"lr_per_256": 0.005, "expert": 20}
    assert training.changes(method_named("dualprompt")) == ({} if protocol == "cifar100" else told)
    assert training.adjusted(method_named("l2p")) == method_named("l2p")


@pytest.mark.parametrize(
    ("protocol", "rate"), [("cifar100", 0.025), ("cub200", 0.008), ("imagenet_r", 0.05), ("cars196", 0.05)]
)
def test_ease_has_its_rate_of_each_protocol(protocol: str, rate: float) -> None:
    recipe = recipe_of(protocol)
    training = Training(recipe.spec("test_vit", 32), recipe)
    assert training.adjusted(method_named("ease")).optimisation == Optimisation(schedule="cosine", head_lr=rate)
    assert training.changes(method_named("ease")) == ({} if rate == 0.025 else {"head_lr": rate})


@pytest.mark.parametrize(
    ("protocol", "loss", "decay"),
    [(name, (1.0, 0.1), 5e-4) for name in ("cifar100", "cub200", "pacs", "parquet", "folder")]
    + [(name, (0.5, 0.5), 0.0) for name in ("imagenet_r", "cars196")],
)
def test_slca_plus_plus_has_its_loss_and_weight_decay_of_each_protocol(
    protocol: str, loss: tuple[float, float], decay: float
) -> None:
    recipe = recipe_of(protocol).small()
    training = Training(recipe.spec("test_vit", 32), recipe)
    for name in ("slca++", "sl++", "slca+++drift"):
        method = training.adjusted(method_named(name))
        assert method.objective == SymmetricCrossEntropy(*loss)
        assert (training.plan(1993, 0).weight_decay, method.optimisation.weight_decay) in ((decay, None), (5e-4, decay))
        assert method.optimisation.schedule == "cosine"
        if isinstance(method.aligner, GaussianAligner):
            assert method.aligner.plan.weight_decay == decay
        told = {"symmetric_cross_entropy": list(loss), "weight_decay": decay}
        assert training.changes(method_named(name)) == ({} if loss == (1.0, 0.1) else told)
    assert training.adjusted(method_named("sl")) == method_named("sl") and training.changes(method_named("sl")) == {}


@pytest.mark.parametrize("protocol", ["pacs", "parquet", "folder"])
def test_what_the_reference_has_no_recipe_for_is_learned_with_the_methods_that_a_server_has(protocol: str) -> None:
    recipe = recipe_of(protocol).small()
    training = Training(recipe.spec("test_vit", 32), recipe)
    for name in (DEFAULT_OF_TRANSFORMERS, DEFAULT):
        assert training.adjusted(method_named(name)) == method_named(name)


def test_a_recipes_own_milestones_go_with_any_number_of_epochs() -> None:
    assert BenchRequest("cifar100", Path(), ("sl",), epochs=1, backbone="test_vit").training().recipe.milestones == (1,)


def test_alignment_is_added_wherever_it_makes_another_method() -> None:
    names, left_out = aligned(["sl", "slca", "bic", "ranpac", "ncm", "ease", "l2p+ca", "sl"])
    assert names == (
        *("sl", "sl+ca", "slca", "bic", "bic+ca", "ranpac", "ranpac+ca", "ncm", "ncm+ca"),
        *("ease", "ease+ca", "l2p+ca"),
    )
    assert left_out == dict.fromkeys(["slca", "l2p+ca"], "its head is aligned already")
    with pytest.raises(UnknownMethod):
        aligned(["magic"])


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_aligned(name: str) -> None:
    names, left_out = aligned([name])
    assert names == (name, f"{name}+ca") or left_out[name] == "its head is aligned already"


def test_what_is_aligned_already_keeps_its_aligner() -> None:
    names = ("slca++", DEFAULT_OF_TRANSFORMERS, DEFAULT, "sl+warm", "l2p+ca_plain", "joint+ca", "frozen", "ease+ca")
    assert aligned(names) == (names, dict.fromkeys(names, "its head is aligned already"))


def test_fewer_projections_are_aligned_as_more_are() -> None:
    assert aligned(["ranpac+m2000"]) == (("ranpac+m2000", "ranpac+ca"), {})
    names, left_out = aligned(["ranpac", "ranpac+m2000"])
    assert names == ("ranpac", "ranpac+ca", "ranpac+m2000")
    assert left_out == {"ranpac+m2000": "ranpac+m2000+ca is the same as ranpac+ca"}


def test_images_are_counted_in_each_domain_where_a_task_is_one() -> None:
    request = BenchRequest("pacs", Path(), ("slca",), train_per_class=5)
    assert request.part.each_domain
    assert not replace(request, tasks=2).part.each_domain and not replace(request, sizes=(4, 3)).part.each_domain
    assert not replace(request, protocol="parquet").part.each_domain


def test_as_many_tasks_as_the_protocol_has_are_the_protocols() -> None:
    request = BenchRequest("cars196", Path(), ("slca",))
    assert request.schedule is replace(request, tasks=10).schedule is PROTOCOLS["cars196"].schedule
    assert replace(request, tasks=7).schedule == Schedule(tasks=7)
    assert replace(request, tasks=10, protocol="cub200").schedule == Schedule(tasks=10)
