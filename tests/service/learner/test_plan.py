"""A task's plan: enough steps, rates that drop in the end, and a seed that knows nothing of time or names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from model.backbones.spec import BackboneSpec
from service.learner.bases import new_root
from service.learner.plan import LearnPlan, make_plan, milestone, task_seed
from service.settings import load_settings
from tests import tiny_weights


def plan(**flags: object) -> LearnPlan:
    given = {f"learn.{name}": value for name, value in flags.items()}
    return make_plan(load_settings(given).settings, None, ["a", "b"], "slca", "test_vit")


@pytest.mark.parametrize(("epochs", "first"), [(1, 1), (2, 1), (4, 3), (10, 9), (20, 18), (50, 45)])
def test_the_rates_drop_in_the_last_tenth_of_the_epochs(epochs: int, first: int) -> None:
    assert milestone(epochs) == first


@pytest.mark.parametrize(
    ("images", "batch", "epochs"), [(4, 1, 25), (40, 10, 25), (400, 100, 25), (5_000, 128, 10), (50_000, 128, 10)]
)
def test_a_small_task_gets_small_batches_and_a_hundred_steps(images: int, batch: int, epochs: int) -> None:
    tuning = plan(epochs=10, min_steps=100).tuning(images)
    assert (tuning.batch_size, tuning.epochs) == (batch, epochs)


def test_a_cpu_works_in_parts_that_a_cancel_need_not_wait_for() -> None:
    assert plan(device="cpu").tuning(5_000).micro_batch == 16
    assert plan(device="cuda").tuning(5_000).micro_batch == 128


def test_the_seed_follows_from_setting_base_and_images_in_order() -> None:
    seeds = {
        task_seed(1, None, ["a", "b"]),
        task_seed(2, None, ["a", "b"]),
        task_seed(1, "base", ["a", "b"]),
        task_seed(1, None, ["b", "a"]),
    }
    assert len(seeds) == 4
    assert task_seed(1, "base", ["a"]) == task_seed(1, "base", ["a"])
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_plan_is_stored_whole() -> None:
    made = plan(max_minutes=3, precision="bf16")
    assert LearnPlan.from_json(made.to_json()) == made
    assert (made.precision, made.max_minutes) == ("bf16", 3)
    rooted = replace(made, root=BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3, pooling="token+avg"))
    assert LearnPlan.from_json(json.loads(json.dumps(rooted.to_json()))) == rooted


def test_a_first_task_that_older_code_began_goes_on_with_the_features_that_there_were(tmp_path: Path) -> None:
    weights = tiny_weights.make("test_vit", tmp_path)
    tiny = {"backbone": "test_vit", "weights": weights, "image_size": 32}
    settings = load_settings(tiny).settings
    begun = LearnPlan.from_json({**plan().to_json(), "root": None})
    for asked in (settings, load_settings({**tiny, "pooling": "token+avg"}).settings):
        assert new_root(asked, begun).spec.pooling == "pretrained"
    assert new_root(settings).spec.pooling == "token+avg"
