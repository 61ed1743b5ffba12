"""The real server answers as its own description says, with keys and without: the short form of `./scripts/fuzz`."""

from pathlib import Path

from tests.described.run import ROOM, Wish, fuzz, make_key
from tests.http.server import RunningServer

OPEN = Wish(examples=3, seed=1993, phases=("fuzzing",))
KEYED = Wish(examples=1, seed=1993, phases=("coverage", "stateful"))


def test_every_answer_is_as_described(folder: Path, tmp_path: Path) -> None:
    with RunningServer(folder, settings=ROOM) as server:
        server.wait_until_ready()
        assert server.client.get("/openapi.json").json()["paths"]["/tasks"]["get"]["security"][0] == {}
        found = fuzz(server, tmp_path, OPEN, {})
        assert found.good, found.words
        found = fuzz(server, tmp_path, KEYED, make_key(server))
        assert found.good, found.words
        assert {} not in server.client.get("/openapi.json").json()["paths"]["/tasks"]["get"]["security"]
