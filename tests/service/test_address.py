"""Where a server may listen, and with which certificate."""

from pathlib import Path

import pytest

from service.address import address, refuse_open_host
from service.settings import WrongSettings, load_settings
from stream.errors import Unavailable
from stream.keys import NewKey, Scope
from stream.ledger import Ledger
from tests.certificates import self_made_certificate


def refuse(**flags: object) -> None:
    refuse_open_host(load_settings({name.replace("__", "."): value for name, value in flags.items()}).settings)


def test_only_with_a_key_may_others_reach_the_server(tmp_path: Path) -> None:
    refuse(data_dir=tmp_path, host="127.0.0.1")
    with pytest.raises(WrongSettings, match=r"host: without keys the server binds to loopback only, not to 0\.0\.0\.0"):
        refuse(data_dir=tmp_path, host="0.0.0.0")
    ledger = Ledger.open(load_settings({"data_dir": tmp_path}).settings.database)
    ledger.create_key(NewKey("ann", Scope.PREDICT))
    ledger.revoke_key("ann")
    ledger.close()
    refuse(data_dir=tmp_path, host="0.0.0.0")


def test_a_file_with_an_admin_key_is_a_key(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("x" * 32)
    refuse(data_dir=tmp_path, host="0.0.0.0", keys__admin_file=key)
    key.write_text("")
    with pytest.raises(WrongSettings, match=r"keys\.admin_file"):
        refuse(data_dir=tmp_path, host="127.0.0.1", keys__admin_file=key)


def test_a_database_that_cannot_be_asked_for_keys_is_named(tmp_path: Path) -> None:
    for url, kind in (("mysql://x/y", WrongSettings), ("postgresql://localhost:1/x", Unavailable)):
        with pytest.raises(kind, match="database_url: the database"):
            refuse(data_dir=tmp_path, host="0.0.0.0", database_url=url)


def test_certificate_and_key_have_to_be_there_and_belong_together(tmp_path: Path) -> None:
    certificate, key = self_made_certificate(tmp_path)
    refuse(tls__certfile=certificate, tls__keyfile=key)
    both = tmp_path / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    refuse(tls__certfile=both)
    (tmp_path / "other").mkdir()
    _, other = self_made_certificate(tmp_path / "other")
    (tmp_path / "locked").mkdir()
    locked = self_made_certificate(tmp_path / "locked", b"secret")
    for flags in (
        {"tls__certfile": locked[0], "tls__keyfile": locked[1]},
        {"tls__certfile": certificate, "tls__keyfile": other},
        {"tls__certfile": certificate},
        {"tls__certfile": tmp_path / "none", "tls__keyfile": key},
        {"tls__keyfile": key},
    ):
        with pytest.raises(WrongSettings, match=r"tls\.certfile: "):
            refuse(**flags)


def test_the_address_says_whether_it_is_encrypted(tmp_path: Path) -> None:
    assert address(load_settings({"host": "::1", "port": 8443}).settings) == "http://[::1]:8443"
    assert address(load_settings({"tls.certfile": tmp_path / "c"}).settings) == "https://127.0.0.1:3000"
