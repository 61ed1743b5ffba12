"""Which release this is, installed or not."""

import tomllib

from service.release import SOURCES, release


def test_it_is_the_projects_version_installed_or_not() -> None:
    project = tomllib.loads((SOURCES / "pyproject.toml").read_text())["project"]
    assert release() == project["version"]
    assert release("a-distribution-that-nobody-installed") == project["version"]
