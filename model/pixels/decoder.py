"""A process that decodes images for another one, and is all that dies of a hostile file.

`python -m model.pixels.decoder PIXELS SECONDS`: each request on stdin is a line of JSON and then the bytes of an image;
each answer on stdout a line of JSON, and then the bytes of the view that was asked for. It ends with its stdin. Where
one image takes more than so many seconds of the processor, SIGPROF ends it.
"""

import json
import resource
import signal
import sys
from typing import BinaryIO

import numpy as np

from model.backbones.spec import BackboneSpec
from model.pixels.images import BrokenImage, ImageError, ImageTooLarge, UnsupportedImage, decode, pixel_digest
from model.pixels.preprocess import evaluation_view

BASE_BYTES = 1 << 30
BYTES_PER_PIXEL = 48
"""Address space: what the libraries map, and the widest steps on the way to RGB (16 bits as float64, with copies)."""

FAULTS: dict[str, type[ImageError]] = {"type": UnsupportedImage, "size": ImageTooLarge, "content": BrokenImage}


def main() -> None:
    """Answer until stdin ends."""
    max_pixels, most_s = int(sys.argv[1]), float(sys.argv[2])
    most = BASE_BYTES + max_pixels * BYTES_PER_PIXEL
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Both go to every process of a server that is to stop, which first answers what it has begun.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # Whoever asks may be killed at any moment: then there is nobody to answer, nor to complain to.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    while (line := sys.stdin.buffer.readline()).endswith(b"\n"):
        request = json.loads(line)
        data = sys.stdin.buffer.read(request["size"])
        # What this signal does by default is to end the process.
        signal.setitimer(signal.ITIMER_PROF, most_s)
        serve(data, request["view"], max_pixels, sys.stdout.buffer)
        signal.setitimer(signal.ITIMER_PROF, 0)


def serve(data: bytes, view: dict[str, object] | None, max_pixels: int, out: BinaryIO) -> None:
    """One answer: the digest of the pixels, or their view as a backbone takes it, or what is wrong with the image."""
    pixels = b""
    try:
        pixels_HWC = decode(data, max_pixels=max_pixels)
        if view is None:
            answer = {"digest": pixel_digest(pixels_HWC)}
        else:
            square_HWC = evaluation_view(pixels_HWC, BackboneSpec.from_json(view))
            answer, pixels = {}, np.ascontiguousarray(square_HWC).tobytes()
    except ImageError as error:
        answer = {"fault": fault_of(error), "message": str(error)}
    except MemoryError:
        answer = {"fault": "content", "message": "the image takes more memory to decode than is allowed"}
    out.write(json.dumps(answer).encode() + b"\n" + pixels)
    out.flush()


def fault_of(error: ImageError) -> str:
    """The word for a kind of error."""
    return next(word for word, kind in FAULTS.items() if isinstance(error, kind))


if __name__ == "__main__":
    main()
