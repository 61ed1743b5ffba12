"""Methods that look at tokens, or put features of their own together, learn on longer features as well; unknown images
are told by the class token alone.
"""

from dataclasses import replace

import numpy as np
import pytest

from model.backbones.backbone import build, extract_features
from model.backbones.features import features_of
from model.backbones.spec import Pooling
from model.forgetting import without_class
from model.learning import Making
from model.scores.confidence import HeldOut, SampledFit, calibrated
from model.scores.novelty import fit_novelty
from model.snapshot import Snapshot
from tests.model import check_method
from tests.model.check_method import Lineage
from tests.model.pictures import Pictures, made

TOKEN = 64
"""Length of the tiny transformer's class token."""


@pytest.fixture(scope="module")
def longer() -> Snapshot:
    """A version with five classes of longer features, after two tasks."""
    lineage = Lineage(check_method.tested("slca+drift+warm+views"), pooling="token+avg")
    lineage.learn([3, 6, 4])
    return lineage.learn([0, 7])


def held_out(version: Snapshot, per_class: int) -> HeldOut:
    """Pictures of its classes through its network, every second one to fit on."""
    shown, labels = made([int(label.removeprefix("c")) for label in version.labels], per_class, seed=7)
    columns_N = np.array([version.labels.index(label) for label in labels], dtype=np.int64)
    return HeldOut(seen(version, shown), columns_N, np.arange(len(labels)) % 2 == 0)


def seen(version: Snapshot, shown: list[np.ndarray], pooling: Pooling | None = None) -> np.ndarray:
    network = build(replace(version.spec, pooling=pooling or version.spec.pooling))
    network.load(version.backbone)
    return extract_features(network, shown, batch_size=16)


@pytest.mark.parametrize(
    "name",
    [
        "slca+++slower+drift+turned+warm+views",
        "slca+drift+warm+cofima",
        "ranpac",
        "bic+ca",
        "adapter+ca",
        "vpt_deep+ca",
        "l2p",
        "dualprompt+ca",
        "coda_prompt+ca",
        "aper",
        "ease",
    ],
)
def test_all_learn_on_the_class_token_beside_the_mean_of_the_patches(name: str) -> None:
    check_method.learns(check_method.tested(name), "token+avg")


def test_what_a_method_remembers_is_as_long_as_the_features() -> None:
    lineage = Lineage(check_method.tested("slca+drift+warm+views"), pooling="token+avg")
    version = lineage.learn([3, 6])
    assert version.spec.pooling == "token+avg"
    assert version.statistics.dimension == version.aligned.feature_dim == 128


@pytest.mark.parametrize("per_class", [0, 12])
def test_known_images_are_told_by_the_class_token_alone(longer: Snapshot, per_class: int) -> None:
    """Be the rule fitted on samples or on held-out images."""
    version, _ = calibrated(longer, held_out(longer, per_class), seed=2)
    rule, shown = version.novelty, made([3, 0, 11], 5, seed=8)[0]
    assert rule is not None and rule.dimension == TOKEN and version.statistics is longer.statistics
    features_ND = seen(version, shown)
    other_ND = np.concatenate([features_ND[:, :TOKEN], 50 - features_ND[:, TOKEN:]], axis=1)
    np.testing.assert_array_equal(rule.scores(other_ND), rule.scores(features_ND))
    np.testing.assert_allclose(rule.scores(seen(version, shown, "pretrained")), rule.scores(features_ND), rtol=1e-5)
    assert not np.array_equal(version.aligned.logits(other_ND), version.aligned.logits(features_ND))


def test_the_rule_tells_known_from_unknown_as_one_on_the_class_token_s_own_statistics(longer: Snapshot) -> None:
    some = held_out(longer, 12)
    version, report = calibrated(longer, some, seed=2)
    expected = fit_novelty(longer.statistics.leading(TOKEN), some.features_ND[some.fitting_N, :TOKEN])
    assert version.novelty is not None and report.known_rate is not None and report.known_rate > 0.7
    np.testing.assert_array_equal(version.novelty.whitening_KK, expected.whitening_KK)
    np.testing.assert_allclose(version.novelty.threshold, expected.threshold, rtol=1e-5)
    unknown_ND = seen(version, made(range(20, 26), 5)[0])
    assert version.novelty.known(unknown_ND).mean() < 0.5


def test_the_temperature_is_of_the_head_over_all_of_the_features(longer: Snapshot) -> None:
    version, _ = calibrated(longer, held_out(longer, 0), seed=2)
    whole = SampledFit.of(longer.aligned, longer.statistics, seed=2)
    assert version.temperature == whole.temperature
    assert whole.novelty.dimension == 2 * TOKEN


@pytest.mark.parametrize("per_class", [0, 12])
def test_features_as_the_weights_classifier_saw_them_are_all_read(per_class: int) -> None:
    base = Lineage(check_method.tested("slca+warm")).learn([3, 6, 4, 0])
    some = held_out(base, per_class)
    version, _ = calibrated(base, some, seed=2)
    fitted = fit_novelty(base.statistics, some.features_ND[some.fitting_N])
    expected = fitted if per_class else SampledFit.of(base.aligned, base.statistics, seed=2).novelty
    assert version.novelty is not None and version.novelty.dimension == TOKEN
    for name, array in expected.to_arrays().items():
        assert array.tobytes() == version.novelty.to_arrays()[name].tobytes()


@pytest.mark.parametrize("name", ["ease", "aper"])
def test_of_features_of_several_passes_the_plain_network_s_class_token_is_read(name: str) -> None:
    lineage = Lineage(check_method.tested(name), pooling="token+avg")
    version, _ = calibrated(lineage.learn([3, 6, 4]), held_out(lineage.version, 0), seed=2)
    shown = made([3, 11], 5, seed=8)[0]
    assert lineage.last is not None and version.novelty is not None
    several_NE = features_of(lineage.last.network, Pictures(shown, np.zeros(10, np.int64)), lineage.plan)
    assert several_NE.shape[1] == 2 * version.statistics.dimension == 4 * version.novelty.dimension
    plain_ND = seen(version, shown, "pretrained")
    np.testing.assert_allclose(version.novelty.scores(several_NE), version.novelty.scores(plain_ND), rtol=1e-4)


def test_a_version_with_such_a_rule_is_stored_and_forgets_a_class(longer: Snapshot) -> None:
    version, _ = calibrated(longer, held_out(longer, 0), seed=2)
    back = Snapshot.from_parts(version.to_parts(), version.describe())
    assert back.novelty is not None and back.to_parts() == version.to_parts()
    left = without_class(back, "c6", Making(check_method.tested("slca+drift+warm+views"), 1))
    left, _ = calibrated(left, held_out(left, 0), seed=2)
    assert left.novelty is not None and left.novelty.centre_CK.shape == (4, TOKEN)


def test_a_stored_rule_over_all_of_the_features_still_reads_them_all(longer: Snapshot) -> None:
    rule = fit_novelty(longer.statistics, np.zeros((0, 2 * TOKEN), np.float32))
    parts = longer.calibrated(1.0, rule).to_parts()
    back = Snapshot.from_parts(parts, longer.calibrated(1.0, rule).describe()).novelty
    features_ND = seen(longer, made([3, 11], 5, seed=8)[0])
    assert back is not None and back.dimension == 2 * TOKEN
    np.testing.assert_array_equal(back.scores(features_ND), rule.scores(features_ND))
