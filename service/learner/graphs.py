"""The graph of a version's architecture, exported once and kept among the parts."""

import hashlib
import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from model.backbones.export import export_graph, graph_key
from model.backbones.spec import BackboneSpec
from service.learner.workshop import Workshop
from stream.manifest import part_key

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Graph:
    """An architecture's graph: `key` says what it was exported from, `data` is the ONNX model without weights."""

    key: str
    data: bytes


def graph_of(workshop: Workshop, spec: BackboneSpec) -> Graph:
    """The graph of the architecture, from the blobs, or exported now (seconds) and recorded."""
    key = graph_key(spec)
    digest = workshop.ledger.graph(key)
    if digest is not None and workshop.blobs.exists(part_key(digest)):
        return Graph(key, workshop.blobs.get(part_key(digest)))
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="everclass-export-") as folder:
        data = export_graph(spec, Path(folder)).read_bytes()
    log.info("exported the graph of %s in %.1f s", spec.name, time.monotonic() - began_s)
    digest = hashlib.sha256(data).hexdigest()
    workshop.blobs.put_bytes(part_key(digest), data)
    workshop.ledger.record_graph(workshop.heartbeat.lease, key, digest)
    return Graph(key, data)
