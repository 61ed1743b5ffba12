"""Benchmark protocols: published data sets in the formats they are published in, as tasks in the order of a seed."""

from stream.protocols.dataset import Dataset, Examples, Part, ProtocolError
from stream.protocols.schedule import Schedule, TaskExamples, class_order, split_tasks
from stream.protocols.table import PROTOCOLS, ProtocolSpec, read_dataset

__all__ = [
    "PROTOCOLS",
    "Dataset",
    "Examples",
    "Part",
    "ProtocolError",
    "ProtocolSpec",
    "Schedule",
    "TaskExamples",
    "class_order",
    "read_dataset",
    "split_tasks",
]
