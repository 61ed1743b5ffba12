"""Blobs in an S3-compatible store, for services and learners on several machines."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stream.blobs.blobs import KEY, BlobInfo, Content, check_bytes, check_key, check_prefix, promised_digest
from stream.blobs.cache import BlobCache
from stream.errors import NotFound, Unavailable

CONNECTIONS = 16
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 60
ATTEMPTS = 5
CACHE_BYTES = 10 << 30
log = logging.getLogger(__name__)

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})


class S3Blobs:
    """Blobs in a bucket: `s3://BUCKET/PREFIX?endpoint_url=…&region=…`.

    Credentials come the way boto3 finds them. What `path` hands out is a copy in `cache_dir`, which is kept below
    `cache_bytes`.
    """

    one_machine = False

    def __init__(self, url: str, cache_dir: Path, *, cache_bytes: int = CACHE_BYTES) -> None:
        place = urlsplit(url)
        if not place.netloc:
            raise ValueError("an S3 URL names its bucket: s3://BUCKET/PREFIX")
        options = {name: values[-1] for name, values in parse_qs(place.query).items()}
        self._bucket = place.netloc
        self._prefix = f"{place.path.strip('/')}/" if place.path.strip("/") else ""
        self._cache = BlobCache(cache_dir, cache_bytes)
        self._client = _client(options)

    def put_bytes(self, key: str, data: bytes) -> None:
        with _errors(key):
            self._client.put_object(Bucket=self._bucket, Key=self._name(key), Body=data)

    def put_file(self, key: str, path: Path) -> None:
        with _errors(key):
            self._client.upload_file(str(path), self._bucket, self._name(key))
        path.unlink()

    def put_many(self, pairs: Iterable[tuple[str, Content]]) -> None:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for _ in pool.map(self._put, pairs):
                pass

    def get(self, key: str, *, verify: bool = True) -> bytes:
        with _errors(key):
            body = self._client.get_object(Bucket=self._bucket, Key=self._name(key))["Body"]
            data: bytes = body.read()
        return check_bytes(key, data) if verify else data

    def path(self, key: str) -> Path:
        if promised_digest(key) is None:
            raise ValueError(f"only a blob named by its SHA-256 can be kept as a copy: {key!r}")
        return self._cache.path(key, lambda: self.get(key))

    def info(self, key: str) -> BlobInfo | None:
        try:
            with _errors(key):
                head = self._client.head_object(Bucket=self._bucket, Key=self._name(key))
        except NotFound:
            return None
        return BlobInfo(key, head["ContentLength"], head["LastModified"])

    def exists(self, key: str) -> bool:
        return self.info(key) is not None

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        pages = self._client.get_paginator("list_objects_v2")
        with _errors(prefix):
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + check_prefix(prefix)):
                for entry in page.get("Contents", []):
                    key = entry["Key"].removeprefix(self._prefix)
                    if KEY.fullmatch(key):
                        yield BlobInfo(key, entry["Size"], entry["LastModified"])

    def delete(self, key: str) -> None:
        with _errors(key):
            self._client.delete_object(Bucket=self._bucket, Key=self._name(key))
        self._cache.forget(key)

    def touch(self, keys: Iterable[str]) -> None:
        for key in keys:
            name = self._name(key)
            source = {"Bucket": self._bucket, "Key": name}
            with _errors(key):
                self._client.copy_object(Bucket=self._bucket, Key=name, CopySource=source, MetadataDirective="REPLACE")

    def clear_half_written(self, prefix: str, oldest: datetime) -> int:
        place = {"Bucket": self._bucket, "Prefix": self._prefix + check_prefix(prefix)}
        count = 0
        try:
            for page in self._client.get_paginator("list_multipart_uploads").paginate(**place):
                for upload in page.get("Uploads", []):
                    if upload["Initiated"] < oldest:
                        mine = {"Bucket": self._bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                        self._client.abort_multipart_upload(**mine)
                        count += 1
        except (ClientError, BotoCoreError) as error:
            # Only room is at stake, and who runs the bucket may have set a rule for it, or not allow us this.
            log.warning("uploads that were given up below %s stay: %s", prefix, error)
        return count

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _put(self, pair: tuple[str, Content]) -> None:
        key, content = pair
        if isinstance(content, Path):
            self.put_file(key, content)
        else:
            self.put_bytes(key, content)


def _client(options: dict[str, str]) -> Any:
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        max_pool_connections=CONNECTIONS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client(
        "s3", endpoint_url=options.get("endpoint_url"), region_name=options.get("region"), config=config
    )


@contextlib.contextmanager
def _errors(key: str) -> Iterator[None]:
    """Turn boto3's ways of failing into the stream's."""
    try:
        yield
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in MISSING:
            raise NotFound("blob", key) from error
        raise Unavailable(f"the blob store refused {key}: {error}") from error
    except (BotoCoreError, boto3.exceptions.Boto3Error) as error:
        raise Unavailable(f"the blob store does not answer: {error}") from error
