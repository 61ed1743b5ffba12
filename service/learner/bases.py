"""What a task is learned on: an earlier version from the blobs, or a root made of pre-trained weights."""

from dataclasses import dataclass

from model.backbones.backbone import build, default_pooling
from model.backbones.pretrained import default_spec, load_pretrained
from model.backbones.spec import BackboneSpec
from model.methods import default_method
from model.snapshot import Snapshot
from service.learner.plan import LearnPlan
from service.settings import Settings
from stream.blobs import Blobs
from stream.ledger import Ledger
from stream.manifest import Manifest, load_manifest, load_parts
from stream.versions import Version

SNAPSHOT_ROLES = ("backbone", "head", "learner", "statistics", "novelty")


@dataclass(frozen=True, eq=False)
class Base:
    """A snapshot to learn on; `version` and `manifest` are None for a root."""

    snapshot: Snapshot
    version: Version | None = None
    manifest: Manifest | None = None

    @property
    def content(self) -> str | None:
        """What the base knows, whatever its tasks are called: the digests of its parts; None for a root."""
        if self.manifest is None:
            return None
        return " ".join(self.manifest.parts[role].sha256 for role in ("backbone", "learner", "statistics"))

    @property
    def lineage(self) -> tuple[str, ...]:
        """The tasks learned so far, oldest first."""
        return self.manifest.lineage if self.manifest else ()


def load_base(
    ledger: Ledger, blobs: Blobs, settings: Settings, number: int | None, begun: LearnPlan | None = None
) -> Base:
    """The version of that number, or where it is None a new root: as `begun`, the plan of an earlier claim, has it.

    Raises:
        NotFound, DamagedBlob: a file of the version is not there, or not what was written.
        WeightsError: the pre-trained weights cannot be had or do not fit.
    """
    if number is None:
        return Base(new_root(settings, begun))
    version = ledger.version(number)
    manifest = load_manifest(blobs, version.digest)
    parts = load_parts(blobs, manifest, SNAPSHOT_ROLES)
    return Base(Snapshot.from_parts(parts, manifest.description), version, manifest)


def new_root(settings: Settings, begun: LearnPlan | None = None) -> Snapshot:
    """Pre-trained weights and no class yet; architecture and method are those of `begun`, else of the settings."""
    spec = root_spec(settings) if begun is None else begun.root or _root_of_older_code(settings)
    weights = load_pretrained(spec, settings.weights, cache_dir=settings.cache / "weights")
    network = build(spec)
    method = begun.method if begun else settings.method or default_method(network)
    return Snapshot.root(spec, weights, network.feature_dim, method)


def root_spec(settings: Settings) -> BackboneSpec:
    """The architecture that a new root gets from the settings, its pooling by default the one that suits it."""
    pooling = settings.pooling or default_pooling(settings.backbone)
    return default_spec(settings.backbone, image_size=settings.image_size, norm=settings.norm, pooling=pooling)


def _root_of_older_code(settings: Settings) -> BackboneSpec:
    """What a plan means that names no architecture: features were then those of the weights' own classifier."""
    return root_spec(settings.model_copy(update={"pooling": "pretrained"}))
