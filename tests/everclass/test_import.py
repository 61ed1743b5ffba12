import subprocess
import sys

LIGHT = """
import sys, time
started = time.perf_counter()
import everclass
took = time.perf_counter() - started
heavy = {"torch", "timm", "bentoml", "sqlalchemy", "numpy", "sklearn", "onnxruntime", "fastapi"}
print(sorted(heavy & set(sys.modules)))
print([name for name in ("service", "model", "stream") if name in sys.modules])
print(took)
"""

COMMAND = """
import sys
from everclass.main import cli
print(sorted({"torch", "bentoml", "sqlalchemy", "numpy", "service", "model", "stream"} & set(sys.modules)))
"""


def lines(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_importing_the_client_loads_nothing_of_the_server_and_is_quick() -> None:
    heavy, ours, took_s = lines(LIGHT)
    assert (heavy, ours) == ("[]", "[]")
    assert float(took_s) < 5


def test_the_command_loads_the_server_only_to_run_one() -> None:
    assert lines(COMMAND) == ["[]"]


def test_the_client_needs_only_httpx_and_pydantic() -> None:
    program = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"click", "rich", "numpy", "PIL"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import everclass
print(everclass.Client.__name__)
"""
    assert lines(program) == ["Client"]
