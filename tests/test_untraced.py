"""Lines of other people's modules cost nothing while they are imported; ours are counted before and after."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
seen = set()
def trace(frame, event, argument):
    seen.add((os.path.basename(frame.f_code.co_filename), frame.f_lineno))
    return trace
def run():
    before = len(seen)
    import {module}
    after = len(seen)
sys.settrace(trace)
run()
sys.settrace(None)
print(sorted({{line for name, line in seen if name == "<string>"}}), "{file}" in {{name for name, _ in seen}})
"""


def traced(module: str, folder: Path, *path: str) -> str:
    """Lines of the program, and whether any of a module in this folder were seen."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    command = [sys.executable, "-c", PROGRAM.format(module=module, file=f"{module}.py")]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_an_import_of_other_peoples_is_not_traced_and_what_comes_after_it_is(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("import wave\n")
    (tmp_path / "service.py").write_text("here = 1\n")
    hook = str(Path(__file__).parent / "untraced")
    assert traced("theirs", tmp_path).endswith("True")
    assert traced("theirs", tmp_path, hook) == "[7, 8, 9, 10] False"
    assert traced("service", tmp_path, hook) == "[7, 8, 9, 10] True"
