"""Where the bytes are: images under their task, parts and manifests under their SHA-256."""

from stream.blobs.blobs import BlobInfo, Blobs, Content
from stream.blobs.folder import FolderBlobs
from stream.blobs.opening import open_blobs

__all__ = ["BlobInfo", "Blobs", "Content", "FolderBlobs", "open_blobs"]
