"""The process that decodes goes without a word when whoever asked it is gone."""

import io
import json
import signal
import subprocess
import sys

import pytest
from PIL import Image

COMMAND = [sys.executable, "-m", "model.pixels.decoder", "1000000", "10"]


def request() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return json.dumps({"size": len(file.getvalue()), "view": None}).encode() + b"\n" + file.getvalue()


def test_nobody_listens_any_more() -> None:
    child = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None
    child.stdout.close()
    child.stdin.write(request())
    child.stdin.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(60) == -signal.SIGPIPE


@pytest.mark.parametrize("sent", [b"", b'{"size": 1', request()[:-5]])
def test_whoever_asked_was_cut_off(sent: bytes) -> None:
    done = subprocess.run(COMMAND, input=sent, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
