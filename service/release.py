"""Which release of Everclass this is."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DISTRIBUTION = "everclass"


SOURCES = Path(__file__).resolve().parents[1]


def release(distribution: str = DISTRIBUTION, root: Path = SOURCES) -> str:
    """The installed distribution's version; where it is not installed, as in a bento, that of the sources at `root`."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        return str(project["version"])
