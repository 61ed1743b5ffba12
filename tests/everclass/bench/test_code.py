"""Which code made a figure: what its files hold, and the commit within this project's own checkout alone."""

import subprocess
from pathlib import Path

from everclass.bench.code import code, commit_of, digest


def checkout(root: Path) -> str:
    """A repository of one file; its commit."""
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    (root / "package").mkdir(parents=True)
    (root / "package" / "a.py").write_text("a = 1\n")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *arguments], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_a_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    for folder in ("some", "same", "renamed", "changed"):
        (tmp_path / folder / "package").mkdir(parents=True)
        (tmp_path / folder / "package" / ("b.py" if folder == "renamed" else "a.py")).write_text(
            "a = 2\n" if folder == "changed" else "a = 1\n"
        )
    some, same, renamed, changed = (
        digest([tmp_path / one / "package"]) for one in ("some", "same", "renamed", "changed")
    )
    assert some == same and len({some, renamed, changed}) == 3


def test_the_commit_is_that_of_a_checkout_and_says_whether_files_differ(tmp_path: Path) -> None:
    commit = checkout(tmp_path / "checkout")
    told = commit_of(tmp_path / "checkout")
    assert told is not None and commit.startswith(told)
    (tmp_path / "checkout" / "package" / "a.py").write_text("a = 2\n")
    assert commit_of(tmp_path / "checkout") == f"{told}+changes"


def test_somebody_elses_checkout_around_an_installed_package_is_not_ours(tmp_path: Path) -> None:
    checkout(tmp_path / "checkout")
    assert commit_of(tmp_path / "checkout" / "package") is None


def test_our_own_code_has_a_digest() -> None:
    assert len(code()["code"]) == 12
