"""An export becomes a held root again and is learned on from; a hostile one is refused and leaves nothing."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from socket import gethostname

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load, save

from everclass.main import cli
from model.snapshot import Snapshot
from service.archives.exporting import archive_of
from service.archives.importing import WrongArchive, import_version
from service.archives.zipping import stream_zip
from stream.alone import alone_with_store
from stream.errors import Unavailable
from stream.manifest import Manifest, Part, load_manifest, load_parts
from stream.verification import verify
from stream.versions import Version
from tests.digits import labelled
from tests.service.learner.world import World
from tests.taught import Taught

Files = dict[str, bytes]


@pytest.fixture(scope="module")
def exported(taught: Taught, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 6 as one archive."""
    world = World.new(tmp_path_factory.mktemp("exported"), taught.folder)
    file = archived(world, world.ledger.version(6))
    world.close()
    return file


def archived(world: World, version: Version) -> Path:
    file = world.settings.root.parent / "version.zip"
    entries = archive_of(world.blobs, version, "safetensors")
    file.write_bytes(b"".join(stream_zip(f"everclass-version-{version.version}-safetensors", entries)))
    return file


@pytest.fixture
def world(tmp_path: Path, seed: Path) -> Iterator[World]:
    """A server that knows nothing yet."""
    empty = World.new(tmp_path, seed)
    yield empty
    empty.close()


def snapshot(world: World, version: Version) -> Snapshot:
    manifest = load_manifest(world.blobs, version.digest)
    return Snapshot.from_parts(load_parts(world.blobs, manifest, manifest.parts), manifest.description)


def test_it_is_a_held_root_with_the_same_numbers_and_is_learned_on_from(world: World, exported: Path) -> None:
    made = import_version(world.ledger, world.blobs, world.settings, exported, note="from there")
    assert (made.version, made.parent, made.task, made.kind, made.state) == (1, None, None, "final", "held")
    assert (made.labels, made.note, made.accuracy) == (tuple("012345"), "from there", None)
    assert {one.since for one in made.classes} == {None}
    with zipfile.ZipFile(exported) as archive:
        files = {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}
    now = snapshot(world, made)
    assert np.array_equal(now.aligned.weight_CD, load(files["head.safetensors"])["weight_CD"])
    assert now.aligned.spread is not None and now.to_parts()["head"] == files["head.safetensors"]
    assert now.to_parts()["statistics"] == files["statistics.safetensors"]
    assert world.ledger.serving() is None
    world.ledger.move_alias("serving", 1, by="test")
    task, versions = world.learn(labelled(6, 7, count=12))
    assert (task.state, task.base) == ("done", 1)
    assert versions[-1].labels == tuple("01234567") and versions[-1].state == "ready"
    again = import_version(world.ledger, world.blobs, world.settings, exported)
    assert (again.version, again.digest, again.state) == (versions[-1].version + 1, made.digest, "held")


def test_it_waits_for_a_sweep_to_end_and_says_so_where_it_does_not(
    world: World, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.archives.importing.ALONE_WITHIN_S", 0.6)
    with (
        alone_with_store(world.ledger, "learner", gethostname()),
        pytest.raises(Unavailable, match="a sweep or another import is under way"),
    ):
        import_version(world.ledger, world.blobs, world.settings, exported)
    assert not world.ledger.versions().items
    assert import_version(world.ledger, world.blobs, world.settings, exported).state == "held"
    assert verify(world.ledger, world.blobs).sound


def test_the_command_says_what_it_made_and_what_is_wrong(exported: Path, tmp_path: Path) -> None:
    world = World.new(tmp_path)
    flags = ["--data-dir", str(world.settings.root), "--set", "serve.runtime=onnxruntime"]
    done = CliRunner().invoke(cli, ["import", str(exported), "--json", *flags])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["state"] == "held"
    (tmp_path / "none.zip").write_bytes(b"PK")
    refused = CliRunner().invoke(cli, ["import", str(tmp_path / "none.zip"), *flags])
    assert refused.exit_code == 6 and "no zip archive" in refused.output
    world.close()


def changed(files: Files, **changes: object) -> None:
    """Other words in the manifest's description."""
    manifest = json.loads(files["manifest.json"])
    manifest["description"] |= changes
    files["manifest.json"] = json.dumps(manifest).encode()


def replaced(files: Files, role: str, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Another part, which the manifest names rightly."""
    arrays = {name: array.copy() for name, array in load(files[f"{role}.safetensors"]).items()}
    change(arrays)
    data = save(arrays)
    manifest = json.loads(files["manifest.json"])
    manifest["parts"][role] = Part.of(data).model_dump()
    files |= {f"{role}.safetensors": data, "manifest.json": json.dumps(manifest).encode()}


def spec(files: Files, **changes: object) -> None:
    described = Manifest.model_validate_json(files["manifest.json"]).description["spec"]
    changed(files, spec=described | changes)


def classes(files: Files, **changes: object) -> None:
    first, *others = Manifest.model_validate_json(files["manifest.json"]).description["classes"]
    changed(files, classes=[first | changes, *others])


def to_nan(arrays: dict[str, np.ndarray]) -> None:
    array = next(array for array in arrays.values() if array.dtype == np.float32 and array.size)
    array.flat[0] = np.nan


def shortened(arrays: dict[str, np.ndarray]) -> None:
    arrays["whitening_DD"] = arrays["whitening_DD"][:-1]


def ruled(files: Files, length: int) -> None:
    """Another rule for unknown images, whole in itself, of so many numbers of a feature."""

    def change(arrays: dict[str, np.ndarray]) -> None:
        eye_DD, classes = np.eye(length, dtype=np.float32), len(arrays["centre_CD"])
        arrays |= {"whitening_DD": eye_DD, "centre_CD": np.zeros((classes, length), np.float32)}
        arrays |= {"background_DD": eye_DD, "background_D": eye_DD[0]}

    replaced(files, "novelty", change)


def endless(arrays: dict[str, np.ndarray]) -> None:
    arrays["gain_CR"][-1, 0] = np.inf


def halved(arrays: dict[str, np.ndarray]) -> None:
    arrays["direction_CRD"] = arrays["direction_CRD"][:, :, :64].copy()


HOSTILE: dict[str, tuple[Callable[[Files], object], str]] = {
    "no manifest": (lambda files: files.pop("manifest.json"), "format safetensors"),
    "no part": (lambda files: files.pop("head.safetensors"), "holds no head"),
    "bytes that are not those of the manifest": (
        lambda files: files.update({"head.safetensors": files["head.safetensors"][:-1] + b"x"}),
        "SHA-256",
    ),
    "a part larger than it says": (
        lambda files: files.update({"head.safetensors": files["head.safetensors"] + bytes(10**6)}),
        "larger than",
    ),
    "a manifest that is none": (lambda files: files.update({"manifest.json": b"[]"}), "not what Everclass writes"),
    "a head that is not finite": (lambda files: replaced(files, "head", to_nan), "not finite"),
    "a spread that is not finite": (lambda files: replaced(files, "head", endless), "not finite"),
    "a spread without its constants": (
        lambda files: replaced(files, "head", lambda arrays: arrays.pop("constant_C")),
        "constant_C",
    ),
    "a spread that lacks a class": (
        lambda files: replaced(files, "head", lambda arrays: arrays.update(offset_CR=arrays["offset_CR"][:-1].copy())),
        "cannot have offsets",
    ),
    "a spread along half of the features": (lambda files: replaced(files, "head", halved), "cannot have a spread"),
    "weights that are not finite": (lambda files: replaced(files, "backbone", to_nan), "not finite"),
    "weights of another network": (lambda files: spec(files, name="test_efficientnet"), "not those of"),
    "a name of a network that no memory holds": (
        lambda files: spec(files, name="vit_7b_patch16_dinov3", image_size=256),
        "not those of",
    ),
    "a backbone from elsewhere": (lambda files: spec(files, name="hf-hub:someone/something"), "no backbone"),
    "a size that no memory holds": (lambda files: spec(files, image_size=10**6), "no backbone"),
    "a method that there is not": (lambda files: changed(files, method="magic"), "no method"),
    "a method that keeps images": (lambda files: changed(files, method="der++"), "cannot offer"),
    "a label that does not show": (lambda files: classes(files, label="\u202e1"), "label"),
    "a label that no URL can name": (lambda files: classes(files, label=".."), "step in a path"),
    "a label twice": (lambda files: classes(files, label="5"), "same label"),
    "a label that is no text": (lambda files: classes(files, label=5), "label"),
    "a temperature that is none": (lambda files: changed(files, temperature="hot"), "temperature"),
    "a temperature that divides by nothing": (lambda files: changed(files, temperature=0), "temperature"),
    "fewer than no tunings": (lambda files: changed(files, tuned_tasks=-1), "description.tuned_tasks"),
    "a backbone without a name": (lambda files: spec(files, name=5), "description.spec.name"),
    "a pooling that there is not": (lambda files: spec(files, pooling="max"), "description.spec.pooling"),
    "features of another length": (lambda files: spec(files, pooling="pretrained"), "head or statistics"),
    "a normalisation that is none": (lambda files: spec(files, mean=["0", None]), "description.spec.mean"),
    "a rule for unknown images that is not finite": (lambda files: replaced(files, "novelty", to_nan), "not finite"),
    "a rule for unknown images that lacks rows": (
        lambda files: replaced(files, "novelty", shortened),
        "not of one length",
    ),
    "a rule for unknown images of a quarter of the features": (
        lambda files: ruled(files, 32),
        "unknown images is of 32 of test_vit's 128 features",
    ),
    "a rule for unknown images of more features": (
        lambda files: ruled(files, 129),
        "unknown images is of 129 of test_vit's 128 features",
    ),
}


def altered(archive: Path, place: Path, change: Callable[[Files], object]) -> Path:
    """The archive with other files, packed at `place`."""
    with zipfile.ZipFile(archive) as whole:
        files = {one.rpartition("/")[2]: whole.read(one) for one in whole.namelist()}
    change(files)
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry, data in files.items():
            packed.writestr(f"../../{entry}", data)
    return place


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(name: str, exported: Path, tmp_path: Path) -> None:
    change, why = HOSTILE[name]
    altered(exported, tmp_path / "bad.zip", change)
    world = World.new(tmp_path)
    with pytest.raises(WrongArchive, match=why):
        import_version(world.ledger, world.blobs, world.settings, tmp_path / "bad.zip")
    assert world.ledger.versions().items == ()
    assert [path for path in (world.settings.root / "blobs").rglob("*") if path.is_file()] == []
    world.close()


def test_a_rule_on_the_class_token_comes_in_with_its_version_as_does_an_older_one_on_all_features(
    world: World, tmp_path: Path, seed: Path
) -> None:
    there = World.new(tmp_path / "there", seed, pooling="token+avg")
    *_, learned = there.learn(labelled(0, 1, count=12))[1]
    rule = snapshot(there, learned).novelty
    assert rule is not None and rule.dimension == 64 and snapshot(there, learned).aligned.feature_dim == 128
    plain, place = archived(there, learned), tmp_path / "other.zip"
    made = import_version(world.ledger, world.blobs, world.settings, plain)
    assert snapshot(world, made).to_parts()["novelty"] == snapshot(there, learned).to_parts()["novelty"]
    older = altered(plain, place, partial(ruled, length=128))
    of_all = snapshot(world, import_version(world.ledger, world.blobs, world.settings, older)).novelty
    assert of_all is not None and of_all.dimension == 128
    for wrong in (63, 65):
        other = altered(plain, place, partial(ruled, length=wrong))
        with pytest.raises(WrongArchive, match=f"is of {wrong} of test_vit's 128 features"):
            import_version(world.ledger, world.blobs, world.settings, other)
    assert verify(world.ledger, world.blobs).sound and len(world.ledger.versions().items) == 2
    there.close()


def test_a_rule_on_half_of_the_features_is_refused_where_they_are_not_of_two_halves(
    world: World, tmp_path: Path
) -> None:
    there = World.new(tmp_path / "there", pooling="pretrained")
    *_, learned = there.learn(labelled(0, 1, count=12))[1]
    half = altered(archived(there, learned), tmp_path / "other.zip", partial(ruled, length=32))
    with pytest.raises(WrongArchive, match="is of 32 of test_vit's 64 features"):
        import_version(world.ledger, world.blobs, world.settings, half)
    there.close()


def test_an_archive_that_was_damaged_on_the_way_is_refused(exported: Path, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(exported) as archive, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    data = bytearray(file.getvalue())
    with zipfile.ZipFile(file) as packed:
        start = next(one.header_offset for one in packed.infolist() if one.filename.endswith("backbone.safetensors"))
    world = World.new(tmp_path)
    for place in (start + 100, start + 5000):
        spoilt = data.copy()
        spoilt[place : place + 40] = bytes(255 for _ in range(40))
        (tmp_path / "bad.zip").write_bytes(spoilt)
        with pytest.raises(WrongArchive, match="no zip archive that can be read"):
            import_version(world.ledger, world.blobs, world.settings, tmp_path / "bad.zip")
    (tmp_path / "bad.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(WrongArchive, match="no zip archive that can be read"):
        import_version(world.ledger, world.blobs, world.settings, tmp_path / "bad.zip")
    world.close()
