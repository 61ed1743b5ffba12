"""Methods that look at tokens, or put features of their own together, learn on longer features as well."""

import pytest

from tests.model import check_method


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
    lineage = check_method.Lineage(check_method.tested("slca+drift+warm+views"), pooling="token+avg")
    version = lineage.learn([3, 6])
    assert version.spec.pooling == "token+avg"
    assert version.statistics.dimension == version.aligned.feature_dim == 128
