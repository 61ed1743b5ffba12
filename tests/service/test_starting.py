"""What a server could not work with is told before its processes start, and nothing of the looking stays."""

import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import WrongSettings, load_settings
from service.starting import check_start_apart
from stream.errors import Unavailable
from tests.http.server import free_port

BIG = ("torch", "timm", "numpy", "sqlalchemy", "boto3")


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"method": "slcaa"}, "^method: there is no method"),
        ({"backbone": "test_vit", "image_size": 63}, "^image_size: test_vit takes no images of 63 pixels"),
        ({"blobs_url": "ftp://h/x"}, "^blobs_url: blobs cannot be kept at ftp://"),
        ({"weights": "no.safetensors"}, "^weights: there is no file no.safetensors$"),
    ],
)
def test_a_check_apart_gives_its_reasons(tmp_path: Path, named: dict[str, object], why: str) -> None:
    settings = load_settings({"data_dir": tmp_path, **named}).settings
    with pytest.raises(WrongSettings, match=why):
        check_start_apart(settings, learns=True)


def test_what_only_a_learner_needs_is_not_asked_of_one_that_answers(tmp_path: Path) -> None:
    settings = load_settings({"data_dir": tmp_path, "weights": "no.safetensors"}).settings
    check_start_apart(settings, learns=False)


def test_what_does_not_answer_is_still_no_wrong_setting(tmp_path: Path) -> None:
    url = f"postgresql://u@127.0.0.1:{free_port()}/db"
    settings = load_settings({"data_dir": tmp_path, "database_url": url}).settings
    with pytest.raises(Unavailable, match=r"^database_url: the database does not answer"):
        check_start_apart(settings, learns=True)


def test_what_supervises_keeps_nothing_of_what_the_check_loaded(tmp_path: Path) -> None:
    program = (
        "import sys; from service.starting import check_start_apart; from service.settings import load_settings; "
        "import service.supervisor; check_start_apart(load_settings().settings, learns=True); "
        f"print([name for name in {BIG} if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
    assert (tmp_path / "everclass-data" / "everclass.db").is_file()
