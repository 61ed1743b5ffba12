"""Labelled images come out of folders, archives and tables, and nothing worse does."""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream.errors import InvalidContent, NotFound, StreamError, TooLarge
from stream.sources import SourceItem, SourceLimits, read_archive, read_folder, read_parquet

FILES = {"cat/1.png": b"one", "cat/2.png": b"two", "dog/1.png": b"three"}
FOUND = [("cat/1.png", "cat", b"one"), ("cat/2.png", "cat", b"two"), ("dog/1.png", "dog", b"three")]
HIDDEN = {".DS_Store": b"x", "cat/.hidden": b"x", "__MACOSX/cat/._1.png": b"x", "cat/Thumbs.db": b"x"}

Pack = Callable[[Path, dict[str, bytes]], Path]


def as_folder(place: Path, files: dict[str, bytes]) -> Path:
    root = place / "tree"
    root.mkdir()
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def as_zip(place: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(place / "archive", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("empty/", b"")
        for name, data in files.items():
            archive.writestr(name, data)
    return place / "archive"


def as_tar(mode: str) -> Pack:
    def pack(place: Path, files: dict[str, bytes]) -> Path:
        with tarfile.open(place / "archive", mode) as archive:
            folder = tarfile.TarInfo("empty")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return place / "archive"

    return pack


TARS = {"tar": as_tar("w:"), "tar.gz": as_tar("w:gz"), "tar.bz2": as_tar("w:bz2"), "tar.xz": as_tar("w:xz")}
ARCHIVES: dict[str, Pack] = {"zip": as_zip, **TARS}
TREES: dict[str, Pack] = {"folder": as_folder, **ARCHIVES}

trees = pytest.mark.parametrize("pack", TREES.values(), ids=TREES)
archives = pytest.mark.parametrize("pack", ARCHIVES.values(), ids=ARCHIVES)


def read(path: Path, limits: SourceLimits | None = None) -> Iterator[SourceItem]:
    return read_folder(path, limits) if path.is_dir() else read_archive(path, limits)


def found(path: Path, limits: SourceLimits | None = None) -> list[tuple[str, str, bytes]]:
    return [(item.name, item.label, item.data) for item in read(path, limits)]


@trees
def test_the_folder_that_an_image_lies_in_names_its_class(tmp_path: Path, pack: Pack) -> None:
    assert found(pack(tmp_path, FILES)) == FOUND


@trees
def test_folders_around_the_classes_do_not_matter(tmp_path: Path, pack: Pack) -> None:
    wrapped = {f"data/set 1/{name}": data for name, data in FILES.items()}
    assert [label for _, label, _ in found(pack(tmp_path, wrapped))] == ["cat", "cat", "dog"]


@trees
def test_what_systems_leave_behind_is_left_out(tmp_path: Path, pack: Pack) -> None:
    assert found(pack(tmp_path, FILES | HIDDEN)) == FOUND


@trees
def test_two_class_folders_of_one_name_are_not_one_class(tmp_path: Path, pack: Pack) -> None:
    with pytest.raises(
        InvalidContent, match=r"^dogs/large/b\.png: cats/large and dogs/large would be one class, large"
    ):
        found(pack(tmp_path, {"cats/large/a.png": b"1", "dogs/large/b.png": b"2"}))


@trees
def test_an_image_in_no_folder_is_named(tmp_path: Path, pack: Pack) -> None:
    with pytest.raises(InvalidContent) as refused:
        found(pack(tmp_path, {"cat/1.png": b"one", "stray.png": b"two"}))
    assert refused.value.errors[0].field == "stray.png"


@trees
def test_labels_of_any_script_come_through(tmp_path: Path, pack: Pack) -> None:
    assert found(pack(tmp_path, {"猫 & café/ä.png": b"x"})) == [("猫 & café/ä.png", "猫 & café", b"x")]


@trees
@pytest.mark.parametrize(
    "limits",
    [SourceLimits(files=2), SourceLimits(file_bytes=4), SourceLimits(total_bytes=10)],
    ids=["files", "one file", "all files"],
)
def test_no_more_comes_out_than_is_allowed(tmp_path: Path, pack: Pack, limits: SourceLimits) -> None:
    with pytest.raises(TooLarge):
        found(pack(tmp_path, FILES), limits)


@archives
def test_a_small_archive_does_not_become_a_large_one(tmp_path: Path, pack: Pack) -> None:
    path = pack(tmp_path, {f"cat/{number}.png": bytes(100_000) for number in range(20)})
    limits = SourceLimits(file_bytes=100_000, ratio=2.0)
    if path.stat().st_size * 2 > 2_000_000:
        assert len(found(path, limits)) == 20
        return
    with pytest.raises(TooLarge):
        found(path, limits)
    assert len(found(path, SourceLimits(file_bytes=100_000, ratio=50_000))) == 20


@archives
@pytest.mark.parametrize("name", ["../cat/1.png", "/cat/1.png", "cat/../../1.png", "..\\cat\\1.png", "C:/cat/1.png"])
def test_a_name_that_leads_out_of_the_archive_is_refused(tmp_path: Path, pack: Pack, name: str) -> None:
    with pytest.raises(InvalidContent, match="leads out"):
        found(pack(tmp_path, {name: b"x"}))


@archives
@pytest.mark.parametrize("cut", [0.3, 0.6, 0.8])
def test_an_archive_that_is_cut_short_is_refused(tmp_path: Path, pack: Pack, cut: float) -> None:
    path = pack(tmp_path, {f"cat/{number}.png": os.urandom(3000) for number in range(10)})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(InvalidContent):
        found(path)


def test_a_tar_that_is_cut_between_two_files_is_refused(tmp_path: Path) -> None:
    path = as_tar("w:")(tmp_path, FILES)
    path.write_bytes(path.read_bytes()[: 3 * tarfile.BLOCKSIZE])
    with pytest.raises(InvalidContent, match="cut short"):
        found(path)


@archives
def test_an_archive_with_a_flipped_byte_gives_its_files_or_an_error_of_ours(tmp_path: Path, pack: Pack) -> None:
    contents = [os.urandom(300), os.urandom(300)]
    path = pack(tmp_path, {"cat/1.png": contents[0], "dog/1.png": contents[1]})
    data = path.read_bytes()
    checks_itself = data[257:262] != b"ustar"
    for place in range(0, len(data), max(1, len(data) // 300)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            read = found(path)
        except StreamError:
            continue
        assert not checks_itself or [content for _, _, content in read] == contents[: len(read)]


@pytest.mark.parametrize(
    "data", [b"", b"x", b"not an archive at all" * 100, b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh9"]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "archive").write_bytes(data)
    with pytest.raises(InvalidContent) as refused:
        found(tmp_path / "archive")
    assert refused.value.errors[0].field == "archive"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "archive", "w") as archive:
        member = tarfile.TarInfo("cat/1.png")
        member.type = kind
        member.linkname = "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(InvalidContent, match="not a plain file"):
        found(tmp_path / "archive")


def test_a_tar_header_that_asks_for_gigabytes_is_not_believed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "archive", "w:gz") as archive:
        member = tarfile.TarInfo("pax")
        member.type = tarfile.XHDTYPE
        member.size = 1 << 30
        archive.addfile(member)
    with pytest.raises(TooLarge):
        found(tmp_path / "archive")


def test_a_tar_member_that_claims_gigabytes_is_not_believed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "archive", "w") as archive:
        member = tarfile.TarInfo("cat/1.png")
        member.size = 7 << 30
        archive.addfile(member)
    with pytest.raises(TooLarge, match=r"cat/1\.png"):
        found(tmp_path / "archive")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        member = zipfile.ZipInfo("cat/1.png")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(InvalidContent, match="not a plain file"):
        found(tmp_path / "archive")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = as_zip(tmp_path, {"cat/1.png": b"x"})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InvalidContent, match="encrypted"):
        found(path)


def test_a_zip_packed_in_an_unknown_way_is_refused(tmp_path: Path) -> None:
    path = as_zip(tmp_path, {"cat/1.png": b"x"})
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        entry = data.rindex(mark)
        data[entry + offset] = 99
    path.write_bytes(data)
    with pytest.raises(InvalidContent, match="damaged"):
        found(path)


def test_a_tar_whose_last_file_is_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = as_zip(tmp_path, {"x/y": b"z"}).read_bytes()
    assert found(as_tar("w:")(tmp_path, {"cat/inner.zip": inner})) == [("cat/inner.zip", "cat", inner)]


def test_links_in_a_folder_are_refused(tmp_path: Path) -> None:
    root = as_folder(tmp_path, FILES)
    (root / "cat" / "9.png").symlink_to("/etc/passwd")
    with pytest.raises(InvalidContent) as refused:
        found(root)
    assert refused.value.errors[0].field == "cat/9.png"


def test_a_folder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list(read_folder(tmp_path / "nothing"))


def as_parquet(place: Path, columns: dict[str, object]) -> Path:
    pq.write_table(pa.table(columns), place / "table.parquet")
    return place / "table.parquet"


def rows(path: Path, limits: SourceLimits | None = None) -> list[tuple[str, str, bytes]]:
    return [(item.name, item.label, item.data) for item in read_parquet(path, limits)]


def test_a_table_gives_its_rows(tmp_path: Path) -> None:
    path = as_parquet(tmp_path, {"image": [b"one", b"two"], "label": ["cat", "dog"]})
    assert rows(path) == [("row 0", "cat", b"one"), ("row 1", "dog", b"two")]


def test_numbers_are_labels_unless_names_are_there(tmp_path: Path) -> None:
    assert rows(as_parquet(tmp_path, {"image": [b"one"], "label": [7]})) == [("row 0", "7", b"one")]
    named = as_parquet(tmp_path, {"image": [b"one"], "label": [7], "label_name": ["cat"]})
    assert rows(named) == [("row 0", "cat", b"one")]


def test_images_may_come_with_their_path(tmp_path: Path) -> None:
    images = [{"bytes": b"one", "path": "a.png"}, {"bytes": b"two", "path": None}]
    path = as_parquet(tmp_path, {"image": images, "label": ["cat", "dog"]})
    assert rows(path) == [("a.png", "cat", b"one"), ("row 1", "dog", b"two")]


def test_a_long_table_is_read_to_its_end(tmp_path: Path) -> None:
    images = [str(number).encode() for number in range(200)]
    path = as_parquet(tmp_path, {"image": images, "label": ["cat"] * 200})
    assert [data for _, _, data in rows(path)] == images


@pytest.mark.parametrize(
    ("columns", "field"),
    [
        ({"picture": [b"x"], "label": ["cat"]}, "parquet"),
        ({"image": [b"x"]}, "parquet"),
        ({"image": ["text"], "label": ["cat"]}, "row 0"),
        ({"image": [b"x", None], "label": ["cat", "cat"]}, "row 1"),
        ({"image": [{"path": "a.png"}], "label": ["cat"]}, "row 0"),
        ({"image": [b"x"], "label": [None]}, "row 0"),
        ({"image": [b"x"], "label": [0.5]}, "row 0"),
        ({"image": [b"x"], "label": [True]}, "row 0"),
    ],
)
def test_a_table_of_another_kind_is_refused(tmp_path: Path, columns: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidContent) as refused:
        rows(as_parquet(tmp_path, columns))
    assert refused.value.errors[0].field == field


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    path = as_parquet(tmp_path, {"image": [os.urandom(5000)] * 10, "label": ["cat"] * 10})
    data = path.read_bytes()
    for broken in (b"", b"PAR1", data[:100], data[:-100] + bytes(100)):
        path.write_bytes(broken)
        with pytest.raises(InvalidContent):
            rows(path)


@pytest.mark.parametrize(
    "limits",
    [SourceLimits(files=1), SourceLimits(file_bytes=500, ratio=100), SourceLimits(total_bytes=1500)],
    ids=["rows", "one image", "all images"],
)
def test_no_more_comes_out_of_a_table_than_is_allowed(tmp_path: Path, limits: SourceLimits) -> None:
    path = as_parquet(tmp_path, {"image": [os.urandom(1000), os.urandom(1000)], "label": ["cat", "dog"]})
    with pytest.raises(TooLarge):
        rows(path, limits)


def test_a_table_that_repeats_one_image_is_counted_as_what_comes_out(tmp_path: Path) -> None:
    path = as_parquet(tmp_path, {"image": [os.urandom(10_000)] * 500, "label": ["cat"] * 500})
    assert path.stat().st_size < 50_000
    with pytest.raises(TooLarge):
        rows(path, SourceLimits(file_bytes=10_000, ratio=3))
