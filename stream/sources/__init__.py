"""Labelled images out of what people have: a folder a class, a zip or tar of one, a Parquet table."""

from stream.sources.archive import read_archive
from stream.sources.folder import read_folder
from stream.sources.item import SourceItem, SourceLimits
from stream.sources.parquet import read_parquet

__all__ = ["SourceItem", "SourceLimits", "read_archive", "read_folder", "read_parquet"]
