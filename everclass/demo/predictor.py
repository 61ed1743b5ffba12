"""Predictions that go on in the background while a server learns, and what became of them."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence

from everclass.client import Client
from everclass.errors import EverclassError, Unavailable
from everclass.images import LabelledImage
from everclass.results import Answer
from everclass.transport import IMPATIENT

PAUSE_S = 0.02
NO_VERSION_PAUSE_S = 0.1


class Expectation:
    """That the classes of a lesson are answered right from some moment on; `right_after_s` once that was seen."""

    def __init__(self, asked: Sequence[LabelledImage]) -> None:
        self.asked = asked
        self.started = time.monotonic()
        self.right_after_s: float | None = None
        self.versions_after_s: dict[int, float] = {}

    def see(self, image: LabelledImage, answer: Answer) -> None:
        """Note when the first right answer came, and when each version gave its first one."""
        after_s = time.monotonic() - self.started
        self.versions_after_s.setdefault(answer.version, after_s)
        if self.right_after_s is None and answer.predictions[0].label == image.label and image in self.asked:
            self.right_after_s = after_s


class Predictor:
    """A thread that asks about one image after the other and never tries twice, so that nothing lost stays hidden.

    What it asks about are the images of the lessons so far, every second one of the newest. A refusal because there is
    no version at all yet is not counted; after the first answer everything is.
    """

    def __init__(self, url: str) -> None:
        self._client = Client(url, patience=IMPATIENT)
        self._lessons: list[Expectation] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="predictor", daemon=True)
        self.answered = 0
        self.failures: list[str] = []

    def __enter__(self) -> "Predictor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def expect(self, asked: Sequence[LabelledImage]) -> Expectation:
        """From now on ask about these images too, and note when they are answered right."""
        expectation = Expectation(asked)
        self._lessons = [*self._lessons, expectation]
        return expectation

    def _run(self) -> None:
        for number in itertools.count():
            lessons = self._lessons
            pause_s = self._ask(number, lessons) if lessons else NO_VERSION_PAUSE_S
            if self._stop.wait(pause_s):
                return

    def _ask(self, number: int, lessons: Sequence[Expectation]) -> float:
        image = _image(number, lessons)
        try:
            answer = self._client.predict(image.image, top_k=1)
        except Unavailable as error:
            if self.answered:
                self.failures.append(str(error))
            return NO_VERSION_PAUSE_S
        except EverclassError as error:
            self.failures.append(str(error))
            return NO_VERSION_PAUSE_S
        self.answered += 1
        lessons[-1].see(image, answer)
        return PAUSE_S


def _image(number: int, lessons: Sequence[Expectation]) -> LabelledImage:
    lesson = lessons[-1] if number % 2 == 0 else lessons[number // 2 % len(lessons)]
    return lesson.asked[number // 2 % len(lesson.asked)]


def in_batches(images: Sequence[LabelledImage], size: int) -> Iterator[Sequence[LabelledImage]]:
    """The images, at most `size` at a time."""
    for start in range(0, len(images), size):
        yield images[start : start + size]
