"""LwF against its formula restated, and what it does to the answers of before."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.backbones.backbone import build
from model.backbones.spec import BackboneSpec
from model.heads.head import Head
from model.method import Method
from model.regularisers import Distillation
from model.regularisers.distillation import DistillationPenalty, Teacher, distillation
from model.training.stage import Step
from model.tuners import FullTuner
from tests.model.check_method import PLAN, Lineage
from tests.model.pictures import Pictures, made

SPEC = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)


def test_distillation_is_the_cross_entropy_of_softened_answers() -> None:
    rng = np.random.default_rng(0)
    taught, said = rng.standard_normal((2, 5, 3)) * 4
    wanted = 0.0
    for teacher, learner in zip(taught / 2.0, said / 2.0, strict=True):
        target, own = np.exp(teacher) / np.exp(teacher).sum(), np.exp(learner) / np.exp(learner).sum()
        wanted -= float((target * np.log(own)).sum()) / 5
    assert float(distillation(torch.tensor(said), torch.tensor(taught), 2.0)) == pytest.approx(wanted, rel=1e-5)


def test_the_penalty_sees_the_old_classes_alone_and_its_teacher_stands_still() -> None:
    network = build(SPEC)
    rng = np.random.default_rng(0)
    head = Head(rng.standard_normal((2, network.feature_dim)).astype(np.float32), np.zeros(2, np.float32))
    teacher = Teacher(network, head)
    pixels = torch.from_numpy(np.stack(made([0, 1], 2)[0]))
    before = teacher.logits(pixels)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    assert torch.equal(teacher.logits(pixels), before)
    logits = torch.from_numpy(rng.standard_normal((4, 5)).astype(np.float32))
    step = Step(network, torch.zeros(0), torch.zeros(0), pixels, torch.zeros(4), torch.zeros(0), logits, 0)
    wanted = 3.0 * distillation(logits[:, :2], before, 2.0)
    assert torch.equal(DistillationPenalty(teacher, 3.0, 2.0)(step), wanted)


def test_old_answers_move_less_under_distillation() -> None:
    pictures = Pictures(made([0, 1, 2], 6, seed=50)[0], np.zeros(18, np.int64))

    def moved(weight: float, seed: int) -> float:
        method = Method(FullTuner(), regulariser=Distillation(weight=weight), scope="rows")
        lineage = Lineage(method, plan=replace(PLAN, epochs=8, milestones=(7,), seed=seed))
        lineage.learn([0, 1, 2])
        before = lineage.logits(pictures)
        lineage.learn([3, 4])
        old = lineage.logits(pictures)[:, :3]
        return float(np.square((old - old.mean(1, keepdims=True)) - (before - before.mean(1, keepdims=True))).mean())

    free, held = ([moved(weight, seed) for seed in (1, 2, 3)] for weight in (0.0, 3.0))
    assert sum(held) < 0.5 * sum(free), (held, free)
