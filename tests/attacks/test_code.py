"""The program's own code: it reads no pickle, runs no text as code, unpacks no archive to disk, and fetches nothing."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("everclass", "service", "model", "stream")

UNPICKLERS = frozenset(
    {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
)
CODE = frozenset({"eval", "exec", "compile", "__import__"})
RUNNING = frozenset({"os.system", "os.popen", "runpy.run_path", "runpy.run_module"})
LOADING = frozenset(
    {"torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "yaml.load", "torch.export.load"}
)
UNPACKING = frozenset({"extract", "extractall", "unpack_archive"})

TALKING: dict[str, frozenset[str]] = {
    "httpx": frozenset({"everclass/transport.py", "everclass/watching.py"}),
    "http.client": frozenset({"service/supervisor.py"}),
    "boto3": frozenset({"stream/blobs/s3.py"}),
    "botocore": frozenset({"stream/blobs/s3.py"}),
    **dict.fromkeys(
        ("urllib.request", "urllib3", "requests", "aiohttp", "ftplib", "smtplib", "huggingface_hub", "telnetlib"),
        frozenset(),
    ),
}
"""What opens connections, and the only files that may: the client, the supervisor's own probe, the blob store."""

PTH = "model/backbones/pretrained.py"
"""The one file that reads `.pth`, the embedded default's and what the operator names, with `weights_only=True`."""


def findings(source: str, name: str) -> Iterator[str]:
    """What is wrong with a file of Python."""
    for node in ast.walk(ast.parse(source)):
        for module in imported(node):
            if module.partition(".")[0] in UNPICKLERS:
                yield f"{name}: imports {module}"
            for talker, allowed in TALKING.items():
                if (module == talker or module.startswith(f"{talker}.")) and name not in allowed:
                    yield f"{name}: imports {module}"
        if isinstance(node, ast.Call):
            yield from (f"{name}:{node.lineno}: {what}" for what in wrong_in(node, name))


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def wrong_in(call: ast.Call, name: str) -> Iterator[str]:
    called = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if called in CODE | RUNNING | LOADING:
        yield f"calls {called}"
    if called == "torch.load" and (name != PTH or given.get("weights_only") != "True"):
        yield "torch.load without weights_only, or outside of the one place for it"
    if given.get("allow_pickle", "False") != "False":
        yield "allow_pickle"
    if given.get("shell", "False") != "False":
        yield "shell"
    if isinstance(call.func, ast.Attribute) and call.func.attr in UNPACKING:
        yield f"unpacks with {called}"


def files() -> list[str]:
    return sorted(
        str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path.is_file()
    )


def test_no_file_runs_what_it_reads_or_fetches_what_it_is_told() -> None:
    assert len(files()) > 100
    assert [found for name in files() for found in findings((ROOT / name).read_text(), name)] == []


def test_the_default_weights_are_read_where_the_exception_is_made() -> None:
    assert "weights_only=True" in (ROOT / PTH).read_text()


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import joblib",
        "eval(text)",
        "exec(compile(text, '', 'exec'))",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "torch.load(path, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "np.load(file, allow_pickle=sure)",
        "import urllib.request",
        "from urllib import request",
        "import httpx",
        "from http import client",
        "import boto3.session",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "archive.extractall(folder)",
        "shutil.unpack_archive(path)",
        "torch.jit.load(path)",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert list(findings(source, "service/some.py"))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("torch.load(path, weights_only=True)", PTH),
        ("import httpx", "everclass/transport.py"),
        ("model.eval()", "model/some.py"),
        ("re.compile(text)", "model/some.py"),
        ("from urllib.parse import urlsplit", "service/some.py"),
        ("from http import HTTPStatus", "service/some.py"),
        ("np.load(file, allow_pickle=False)", "model/some.py"),
    ],
)
def test_the_search_lets_the_rest_be(source: str, name: str) -> None:
    assert list(findings(source, name)) == []
