"""The scene in which a batch is learned; its stage has everything imported that learns."""

from pathlib import Path

from tests.faults.children import IMAGES, world_of
from tests.faults.diary import Diary
from tests.faults.disk.scenes import perform


def learn(folder: Path, diary: Diary) -> None:
    """A batch is sent and learned until its task is done or failed."""
    world = world_of(folder)
    sent = world.send(IMAGES)
    diary.note("accepted", sent.id)
    world.learn_all()
    task = world.ledger.task(sent.id)
    diary.note("ended", {"state": task.state, "reason": task.reason, "attempts": task.attempts})
    world.close()


if __name__ == "__main__":
    perform({"learn": learn})
