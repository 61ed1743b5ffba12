"""What the tests of the model share: small architectures, exported once a session, and the end of one more process."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from model.backbones.export import export_graph
from model.backbones.pretrained import default_spec
from model.backbones.spec import BackboneSpec, Pooling
from tests.model import other_process
from tests.threads import one_thread

__all__ = ["one_thread"]

SMALL_ARCHITECTURES = ("test_vit", "test_vit token+avg", "test_efficientnet", "mobilenetv3_small_050")


def small_spec(name: str, pooling: Pooling = "pretrained") -> BackboneSpec:
    """A small architecture at 64 pixels."""
    return default_spec(name, image_size=64, pooling=pooling)


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left() -> Iterator[None]:
    """`other_process` ends with the session, not some time after it."""
    yield
    other_process.end()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[BackboneSpec], bytes]:
    """The graph of a spec, exported at the first call."""

    @cache
    def graph(spec: BackboneSpec) -> bytes:
        folder: Path = tmp_path_factory.mktemp("graph")
        return export_graph(spec, folder).read_bytes()

    return graph


@pytest.fixture(params=SMALL_ARCHITECTURES)
def spec(request: pytest.FixtureRequest) -> BackboneSpec:
    """Each small architecture: a transformer, pooled in either way, and two convolutional nets with BatchNorm."""
    return small_spec(*request.param.split())
