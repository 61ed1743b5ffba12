"""From a URL to the store that it names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from stream.blobs.blobs import Blobs
from stream.blobs.folder import FolderBlobs


def open_blobs(url: str | Path, cache_dir: Path) -> Blobs:
    """The store at `url`: a folder (a path or `file:///…`), or `s3://BUCKET/PREFIX?endpoint_url=…&region=…`.

    `cache_dir` holds copies of what a remote store has; a folder needs none.

    Raises:
        ValueError: the URL is of no kind that is known, or S3's client cannot take it.
    """
    if isinstance(url, Path):
        return FolderBlobs(url)
    parts = urlsplit(url)
    match parts.scheme:
        case "s3":
            # A tenth of a second and 10 MB of every process, for those alone who keep blobs there.
            from stream.blobs.s3 import S3Blobs

            return S3Blobs(url, cache_dir)
        case "file":
            return FolderBlobs(Path(unquote(parts.path)))
        case "":
            return FolderBlobs(Path(url))
        case other:
            raise ValueError(f"blobs cannot be kept at {other}://…; a folder or s3://… can")
