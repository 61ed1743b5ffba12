"""What every blob store must do, run over each."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from stream.blobs import Blobs, FolderBlobs, open_blobs
from stream.blobs.s3 import S3Blobs
from stream.errors import DamagedBlob, NotFound, Unavailable


def part(data: bytes) -> str:
    return f"parts/{hashlib.sha256(data).hexdigest()}"


def keys(blobs: Blobs, prefix: str) -> list[str]:
    return [blob.key for blob in blobs.list(prefix)]


def test_what_was_put_is_there(blobs: Blobs, tmp_path: Path) -> None:
    blobs.put_bytes(part(b"one"), b"one")
    upload = tmp_path / "upload"
    upload.write_bytes(b"two")
    blobs.put_file(part(b"two"), upload)
    assert not upload.exists()
    for data in (b"one", b"two"):
        assert blobs.get(part(data)) == data
        assert blobs.path(part(data)).read_bytes() == data
        assert blobs.exists(part(data))
        info = blobs.info(part(data))
        assert info is not None
        assert (info.key, info.size_bytes) == (part(data), 3)
        assert abs(datetime.now(UTC) - info.modified_at) < timedelta(minutes=1)


def test_what_was_not_put_is_not_there(blobs: Blobs) -> None:
    assert not blobs.exists(part(b"x"))
    assert blobs.info(part(b"x")) is None
    for read in (blobs.get, blobs.path, lambda key: blobs.touch([key])):
        with pytest.raises(NotFound, match="parts/"):
            read(part(b"x"))
    blobs.delete(part(b"x"))
    assert keys(blobs, "parts/") == []
    assert keys(blobs, "tasks/t1/") == []


def test_many_are_put_at_once_from_bytes_and_files(blobs: Blobs, tmp_path: Path) -> None:
    pairs: list[tuple[str, bytes | Path]] = []
    for number in range(20):
        data = f"image {number}".encode()
        content = tmp_path / str(number)
        content.write_bytes(data)
        key = f"tasks/t{number % 2}/{hashlib.sha256(data).hexdigest()}"
        pairs.append((key, content if number % 3 else data))
    blobs.put_many(pairs)
    assert keys(blobs, "tasks/") == sorted(key for key, _ in pairs)
    assert keys(blobs, "tasks/t1/") == sorted(key for key, _ in pairs if key.startswith("tasks/t1/"))
    assert blobs.get(pairs[7][0]) == b"image 7"
    blobs.put_many([])


def test_putting_the_same_again_changes_nothing_but_its_age(blobs: Blobs, tmp_path: Path) -> None:
    blobs.put_bytes(part(b"one"), b"one")
    upload = tmp_path / "upload"
    upload.write_bytes(b"one")
    blobs.put_file(part(b"one"), upload)
    assert not upload.exists()
    assert blobs.get(part(b"one")) == b"one"


def test_a_deleted_blob_is_gone(blobs: Blobs) -> None:
    for key in (part(b"one"), "tasks/t1/a", "tasks/t1/b"):
        blobs.put_bytes(key, b"one")
    assert blobs.path(part(b"one")).exists()
    for key in (part(b"one"), "tasks/t1/a"):
        blobs.delete(key)
        assert not blobs.exists(key)
    with pytest.raises(NotFound):
        blobs.path(part(b"one"))
    assert keys(blobs, "tasks/") == ["tasks/t1/b"]
    blobs.delete("tasks/t1/b")
    blobs.put_bytes("tasks/t1/c", b"one")
    assert keys(blobs, "tasks/t1/") == ["tasks/t1/c"]


def test_damaged_bytes_are_not_handed_out(blobs: Blobs) -> None:
    key = part(b"what was written")
    blobs.put_bytes(key, b"what is there")
    for read in (blobs.get, blobs.path):
        with pytest.raises(DamagedBlob, match="parts/"):
            read(key)
    assert blobs.get(key, verify=False) == b"what is there"
    blobs.put_bytes(key, b"what was written")
    assert blobs.get(key) == b"what was written"


def test_a_key_without_a_digest_is_not_checked(blobs: Blobs) -> None:
    blobs.put_bytes("tasks/t1/notes", b"anything")
    assert blobs.get("tasks/t1/notes") == b"anything"


def test_touching_renews_the_age(blobs: Blobs) -> None:
    blobs.put_bytes(part(b"one"), b"one")
    before = blobs.info(part(b"one"))
    assert before is not None
    if isinstance(blobs, FolderBlobs):
        long_ago = (datetime.now(UTC) - timedelta(days=3)).timestamp()
        _age(blobs.path(part(b"one")), long_ago)
        aged = blobs.info(part(b"one"))
        assert aged is not None
        assert aged.modified_at < before.modified_at
    blobs.touch([part(b"one")])
    after = blobs.info(part(b"one"))
    assert after is not None
    assert after.modified_at >= before.modified_at
    assert blobs.get(part(b"one")) == b"one"


@pytest.mark.parametrize(
    "key", ["", "parts", "/parts/x", "parts/../x", "parts/.x", "parts//x", "parts/x/", "a/b\n", "parts/ä", "PARTS/x"]
)
def test_no_key_leads_out_of_the_store(blobs: Blobs, key: str) -> None:
    for use in (blobs.get, blobs.path, blobs.info, blobs.delete, lambda bad: blobs.put_bytes(bad, b"")):
        with pytest.raises(ValueError, match=r"not a blob key|named by its SHA-256"):
            use(key)


@pytest.mark.parametrize("prefix", ["", "/", "parts", "../", "parts/../"])
def test_a_prefix_is_made_of_whole_segments(blobs: Blobs, prefix: str) -> None:
    with pytest.raises(ValueError, match=r"prefix|key"):
        list(blobs.list(prefix))


def test_a_folder_serves_one_machine_and_s3_many(tmp_path: Path, s3_url: str) -> None:
    assert FolderBlobs(tmp_path).one_machine
    assert not S3Blobs(s3_url, tmp_path).one_machine


def test_a_url_says_where_blobs_are(tmp_path: Path, s3_url: str) -> None:
    for url in (tmp_path / "a", str(tmp_path / "a"), f"file://{tmp_path}/a"):
        found = open_blobs(url, tmp_path / "cache")
        assert isinstance(found, FolderBlobs)
        assert found.root == tmp_path / "a"
    assert isinstance(open_blobs(s3_url, tmp_path / "cache"), S3Blobs)
    with pytest.raises(ValueError, match="ftp"):
        open_blobs("ftp://somewhere/else", tmp_path / "cache")


def test_two_who_look_at_the_same_bucket_see_the_same(tmp_path: Path, s3_url: str) -> None:
    here, there = S3Blobs(s3_url, tmp_path / "here"), S3Blobs(s3_url, tmp_path / "there")
    here.put_bytes(part(b"one"), b"one")
    assert there.path(part(b"one")).read_bytes() == b"one"


def test_the_copies_of_a_bucket_stay_within_their_bound(tmp_path: Path, s3_url: str) -> None:
    blobs = S3Blobs(s3_url, tmp_path / "cache", cache_bytes=25)
    contents = [f"ten bytes {number}".encode()[:11] for number in range(4)]
    for data in contents:
        blobs.put_bytes(part(data), data)
        blobs.path(part(data))
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert all(blobs.path(part(data)).read_bytes() == data for data in contents)


def test_a_copy_is_fetched_once(tmp_path: Path, s3_url: str) -> None:
    blobs, others = S3Blobs(s3_url, tmp_path / "cache"), S3Blobs(s3_url, tmp_path / "elsewhere")
    blobs.put_bytes(part(b"one"), b"one")
    blobs.path(part(b"one"))
    others.delete(part(b"one"))
    assert blobs.path(part(b"one")).read_bytes() == b"one"


def test_a_damaged_copy_is_fetched_again(tmp_path: Path, s3_url: str) -> None:
    blobs = S3Blobs(s3_url, tmp_path / "cache")
    blobs.put_bytes(part(b"one"), b"one")
    blobs.path(part(b"one")).write_bytes(b"two")
    assert blobs.path(part(b"one")).read_bytes() == b"one"


def test_only_what_names_its_digest_is_copied(tmp_path: Path, s3_url: str) -> None:
    blobs = S3Blobs(s3_url, tmp_path / "cache")
    blobs.put_bytes("tasks/t1/notes", b"anything")
    with pytest.raises(ValueError, match="SHA-256"):
        blobs.path("tasks/t1/notes")


def test_a_bucket_that_is_not_there_is_unavailable(tmp_path: Path, s3_url: str) -> None:
    blobs = S3Blobs(s3_url.replace("bucket-", "no-bucket-"), tmp_path / "cache")
    with pytest.raises(Unavailable, match="refused"):
        blobs.put_bytes(part(b"one"), b"one")


def test_a_store_that_does_not_answer_is_unavailable(tmp_path: Path, s3_url: str) -> None:
    blobs = S3Blobs("s3://bucket?endpoint_url=http://127.0.0.1:1&region=us-east-1", tmp_path / "cache")
    with pytest.raises(Unavailable, match="does not answer"):
        blobs.get(part(b"one"))


def test_what_is_no_blob_is_not_listed(tmp_path: Path, s3_url: str) -> None:
    """Such as what a file manager leaves, or a copy that somebody made by hand."""
    folder = FolderBlobs(tmp_path / "blobs")
    folder.put_bytes("parts/one", b"1")
    (tmp_path / "blobs" / "parts" / "one (copy)").write_bytes(b"1")
    place = urlsplit(s3_url)
    client = boto3.client("s3", endpoint_url=parse_qs(place.query)["endpoint_url"][0], region_name="us-east-1")
    client.put_object(Bucket=place.netloc, Key=f"{place.path.strip('/')}/parts/one (copy)", Body=b"1")
    client.close()
    bucket = S3Blobs(s3_url, tmp_path / "cache")
    bucket.put_bytes("parts/one", b"1")
    assert keys(folder, "parts/") == keys(bucket, "parts/") == ["parts/one"]


def test_an_upload_in_pieces_that_was_killed_is_cleared_once_it_is_old(tmp_path: Path, s3_url: str) -> None:
    place = urlsplit(s3_url)
    endpoint = parse_qs(place.query)["endpoint_url"][0]
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_multipart_upload(Bucket=place.netloc, Key=f"{place.path.strip('/')}/tasks/one/{'0' * 64}")
    blobs = S3Blobs(s3_url, tmp_path)
    # What the S3 server of the tests says of every upload's beginning lies in 2010.
    before, after = datetime(2010, 1, 1, tzinfo=UTC), datetime.now(UTC)
    assert blobs.clear_half_written("tasks/", before) == 0
    assert blobs.clear_half_written("parts/", after) == 0
    assert blobs.clear_half_written("tasks/", after) == 1
    assert blobs.clear_half_written("tasks/", after) == 0
    client.close()


def _age(path: Path, timestamp: float) -> None:

    os.utime(path, (timestamp, timestamp))


def test_a_part_that_is_deleted_while_it_is_put_again_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = FolderBlobs(tmp_path)
    key = part(b"x")
    blobs.put_bytes(key, b"x")
    real = blobs._intact

    def intact(key: str, path: Path) -> bool:
        found = real(key, path)
        path.unlink()
        return found

    monkeypatch.setattr(blobs, "_intact", intact)
    blobs.put_bytes(key, b"x")
    assert blobs.get(key) == b"x"
