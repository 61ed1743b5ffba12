"""Alignment on statistics that are not stale recovers what alignment on stale ones loses."""

import numpy as np

from model.alignment import AlignmentPlan, align
from model.head import Head
from model.oracle import oracle_aligned
from model.statistics import ClassStatistics


def test_fresh_statistics_beat_stale_ones_after_a_drift() -> None:
    rng = np.random.default_rng(0)
    columns_N = np.repeat(np.arange(6), 60)
    old_ND = (rng.standard_normal((6, 10))[columns_N] * 2 + rng.standard_normal((360, 10))).astype(np.float32)
    turned_DD = np.linalg.qr(rng.standard_normal((10, 10)))[0].astype(np.float32)
    now_ND = old_ND @ turned_DD
    blocks_C = np.array([1, 1, 1, 2, 2, 2])
    stale = ClassStatistics.from_features(old_ND, columns_N, 6)
    head = Head(0.1 * rng.standard_normal((6, 10)).astype(np.float32), np.zeros(6, np.float32))
    before = align(head, stale, blocks_C, 2, AlignmentPlan(), seed=1)
    after = oracle_aligned(head, now_ND, columns_N, blocks_C, 2, seed=1)
    accuracy = [(one.logits(now_ND).argmax(axis=1) == columns_N).mean() for one in (before, after)]
    assert accuracy[1] > 0.9 and accuracy[1] > accuracy[0] + 0.3
