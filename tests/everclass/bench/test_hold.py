"""A folder of results has one writer."""

from pathlib import Path

import pytest

from everclass.bench.hold import FolderHeld, held


def test_a_second_command_is_told_which_one_has_the_folder(tmp_path: Path) -> None:
    with held(tmp_path, "everclass bench --seeds 3 --out a-long-name-of-a-folder"):
        pass
    with held(tmp_path, "everclass bench"):
        with pytest.raises(FolderHeld, match=r"is in use by another command until it ends: everclass bench \(process"):
            held(tmp_path, "everclass bench --align").__enter__()
        (tmp_path / "other").mkdir()
        with held(tmp_path / "other", "everclass bench"):
            pass
    with held(tmp_path, "everclass bench --align"):
        pass
