"""A request for a comparison with all that can be found out before anything is learned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from everclass.bench.cautions import Cautions
from everclass.bench.chain import Extras, stem
from everclass.bench.course import Course
from everclass.bench.inputs import as_plain, inputs_of
from everclass.bench.kept_features import origin
from everclass.bench.recipe import Training
from everclass.bench.request import BenchRequest
from model.backbones.backbone import NoLayerNorm, WeightsError, build
from model.backbones.image_size import refusal_of_size
from model.backbones.pretrained import load_pretrained
from model.backbones.spec import BackboneSpec
from model.method import Method
from stream.protocols import PROTOCOLS, Dataset, read_dataset


@dataclass(frozen=True, eq=False)
class Prepared:
    """A request that can run: its images are found, its weights fit, its methods have a place in the network.

    `inputs` say which weights and images these are (`inputs_of`); they are read once, not for each chain.
    """

    request: BenchRequest
    training: Training
    dataset: Dataset
    weights: Mapping[str, Tensor]
    courses: Sequence[Course]
    chains: Sequence[Mapping[str, Method]]
    inputs: Mapping[str, Any]

    @property
    def described(self) -> dict[str, Any]:
        """The part of the configuration that all methods share, as plain JSON values."""
        return self.training.describe() | self.request.describe()

    @property
    def of_features(self) -> dict[str, Any]:
        """What decides features beside the method and the seed, as plain JSON values."""
        digests = {f"{name}_digest": value for name, value in self.inputs.items()}
        return {"protocol": self.request.protocol, **digests, **self.described}

    def origin(self, method: Method) -> str:
        """What features say of themselves that this method or another one of its chain keeps."""
        alike, _ = stem(self.training.adjusted(method))
        return origin(self.of_features, as_plain(alike))

    def cautions(self, extras: Extras) -> list[str]:
        """What of it changes nothing or is most likely a slip."""
        return Cautions(self.request, self.dataset, self.courses).of(extras)


def prepare(request: BenchRequest) -> Prepared:
    """What can be found out before anything is learned.

    Raises ProtocolError, UnknownMethod, WeightsError, UnfitBackbone and ValueError for a request that cannot run,
    OSError for what cannot be read.
    """
    if request.protocol not in PROTOCOLS:
        raise ValueError(f"--protocol: there is no protocol {request.protocol}: it is one of {', '.join(PROTOCOLS)}")
    chains = list(request.chains())
    training = request.training()
    _check_features_of(training.spec)
    dataset = read_dataset(request.protocol, request.data, request.part)
    courses = [request.course(dataset, seed) for seed in request.seeds]
    for tuner in dict.fromkeys(training.adjusted(method).tuner for methods in chains for method in methods.values()):
        tuner.begin(build(training.spec), task=1, seed=0)
    weights = _weights(request, training)
    inputs = inputs_of(dataset, training.spec, request.weights)
    return Prepared(request, training, dataset, weights, courses, chains, inputs)


def _check_features_of(spec: BackboneSpec) -> None:
    """Raises WeightsError and ValueError for images or a last norm that the backbone cannot have."""
    try:
        refusal = refusal_of_size(spec)
    except NoLayerNorm as error:
        raise NoLayerNorm(f"{error}; --norm pretrained keeps its own, as --recipe small does") from error
    if refusal:
        raise ValueError(f"--image-size: {refusal}")


def _weights(request: BenchRequest, training: Training) -> Mapping[str, Tensor]:
    try:
        return load_pretrained(training.spec, request.weights)
    except WeightsError as error:
        raise WeightsError(f"--weights: {error}") from error
