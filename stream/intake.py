"""The way of a batch: every image checked, made durable under its task, and only then written into the ledger."""

import contextlib
import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from model.pixels.decoding import Decoder, OwnProcess
from model.pixels.images import ImageError, ImageTooLarge, UnsupportedImage
from stream import files
from stream.blobs import Blobs
from stream.errors import FieldError, InvalidContent, StreamError, TooLarge, Unavailable, UnsupportedType
from stream.failpoints import reach
from stream.keys import Sender
from stream.labels import MAX_CHARACTERS, new_label
from stream.ledger import Ledger, Ticket
from stream.tasks import ItemDraft, NewTask, Split, Task, image_key, new_task_id
from stream.turns import Turns

CHECKING_THREADS = 2

LEFT_OVER_AFTER_S = 24 * 3600.0

MAX_ERRORS = 1000
"""So many errors of one batch are named; the client has enough to go on with."""

Fault = Literal["type", "size", "content"]


@dataclass(frozen=True)
class IntakeLimits:
    """What one batch may bring: images, bytes and pixels of one image, classes, characters of a label."""

    images: int = 20_000
    image_bytes: int = 32 << 20
    pixels: int = 50_000_000
    labels: int = 10_000
    label_characters: int = MAX_CHARACTERS


@dataclass(frozen=True)
class Checked:
    """What was found out about an image; `fault` and `message` where it cannot be taken."""

    sha256: str
    size_bytes: int
    pixel_digest: str = ""
    fault: Fault | None = None
    message: str = ""


@dataclass(frozen=True)
class Arrival:
    """An image as it came: what the client said of it, where its bytes lie, and what the check will say."""

    field: str
    name: str | None
    label: str
    split: Split | None
    path: Path
    checked: Future[Checked]


class Intake:
    """Takes batches in; may be used from any thread."""

    def __init__(
        self,
        ledger: Ledger,
        blobs: Blobs,
        incoming_dir: Path,
        limits: IntakeLimits | None = None,
        *,
        threads: int = CHECKING_THREADS,
        decoder: Decoder | None = None,
    ) -> None:
        """`incoming_dir` holds uploads until they are accepted; on the disk of the blobs they are moved, not copied.

        Without a `decoder` images are decoded in this process.
        """
        self.ledger = ledger
        self.blobs = blobs
        self.limits = limits or IntakeLimits()
        self.decoder = decoder or OwnProcess(self.limits.pixels)
        self._incoming_dir = incoming_dir
        clear_leftovers(incoming_dir)
        self._checkers = Turns(threads, "check-image")

    @contextlib.contextmanager
    def staging(self, task_id: str | None = None) -> Iterator["Staging"]:
        """A place for one batch, of the open task or of a new one; what is not accepted goes when the block is left."""
        folder = self._incoming_dir / f"batch-{secrets.token_hex(8)}"
        files.make_folder(folder)
        staging = Staging(self, self._checkers, folder, task_id or new_task_id(), is_new=task_id is None)
        try:
            yield staging
        finally:
            staging.stop_checking()
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Wait for checks that are under way."""
        self._checkers.shutdown()


@dataclass
class Staging:
    """One batch on its way in. `task_id` is the task that it will belong to."""

    intake: Intake
    checkers: Turns
    folder: Path
    task_id: str
    is_new: bool
    _arrivals: list[Arrival] = field(default_factory=list)
    _label_errors: list[FieldError] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._arrivals)

    def add(
        self,
        field: str,
        label: str,
        split: Split | None,
        content: bytes | Path,
        *,
        name: str | None = None,
        label_field: str | None = None,
    ) -> None:
        """One more image: bytes, or a file that is the batch's from now on. Errors name `field` and `label_field`.

        Whether image and label are good is said by `accept`.

        Raises:
            TooLarge: more images than one batch may have.
            StorageFull: no room for the bytes.
        """
        limits = self.intake.limits
        if len(self._arrivals) >= limits.images:
            told = f"a batch may have {limits.images} images (limits.images_per_request)"
            raise TooLarge(told, (FieldError(field, told),))
        path = self._keep(content)
        checked = self.checkers.submit(self.folder, check_image, path, limits, self.intake.decoder)
        self._arrivals.append(Arrival(field, name, self._cleaned(label, label_field or field), split, path, checked))

    def fingerprint(self, query: str = "") -> str:
        """Stands for the query, the labels and the images in their order: equal for the same request sent again."""
        content = [[arrival.label, arrival.split, arrival.checked.result().sha256] for arrival in self._arrivals]
        return hashlib.sha256(json.dumps([query, content]).encode()).hexdigest()

    def accept(
        self,
        *,
        commit: bool = True,
        new_task: NewTask | None = None,
        ticket: Ticket | None = None,
        sender: Sender | None = None,
    ) -> Task:
        """Store the batch: durable in the blobs first, then in the ledger. `new_task` has this staging's `task_id`.

        Raises:
            InvalidContent, UnsupportedType, TooLarge: with all that is wrong; nothing was stored.
            NotFound, Conflict, QuotaFull, StorageFull: nothing of the batch is in the task.
            Unavailable: nothing of it is, or all of it, where the database could not say that it took it.
        """
        drafts = self._drafts()
        contents = self._contents(drafts)
        try:
            self.intake.blobs.put_many(list(contents.items()))
            reach("intake.stored")
            task = self.intake.ledger.add_batch(
                None if self.is_new else self.task_id,
                drafts,
                commit=commit,
                new_task=new_task,
                ticket=ticket,
                sender=sender,
            )
        except Unavailable:
            # The database may have taken the batch, or be about to, without being able to say so: the sweep decides.
            raise
        except StreamError:
            # Of an open task, another batch that is on its way in may have the same picture: the sweep decides later.
            if self.is_new:
                self._take_back(set(contents))
            raise
        reach("intake.accepted")
        return task

    def _contents(self, drafts: list[ItemDraft]) -> dict[str, Path]:
        """The file of each picture by its blob key; of a picture that came twice, the first."""
        first: dict[str, tuple[str, Path]] = {}
        for draft, arrival in zip(drafts, self._arrivals, strict=True):
            first.setdefault(draft.pixel_digest, (image_key(self.task_id, draft.sha256), arrival.path))
        return dict(first.values())

    def stop_checking(self) -> None:
        """Drop the checks that have not begun, and wait for the others."""
        for arrival in self._arrivals:
            if not arrival.checked.cancel():
                arrival.checked.exception()

    def _keep(self, content: bytes | Path) -> Path:
        if isinstance(content, Path):
            return content
        path = self.folder / str(len(self._arrivals))
        with files.storage_errors(self.folder):
            path.write_bytes(content)
        return path

    def _cleaned(self, label: str, field: str) -> str:
        try:
            return new_label(label, field, max_characters=self.intake.limits.label_characters)
        except InvalidContent as error:
            self._label_errors += error.errors
            return label

    def _drafts(self) -> list[ItemDraft]:
        """The batch for the ledger, if nothing is wrong with it."""
        if not self._arrivals:
            raise InvalidContent.of("images", "there are no images")
        found = [(arrival, arrival.checked.result()) for arrival in self._arrivals]
        self._refuse_labels()
        refuse([(arrival.field, checked) for arrival, checked in found if checked.fault], self._label_errors)
        return [
            ItemDraft(
                sha256=checked.sha256,
                label=arrival.label,
                size_bytes=checked.size_bytes,
                pixel_digest=checked.pixel_digest,
                split=arrival.split,
                name=arrival.name,
                field=arrival.field,
            )
            for arrival, checked in found
        ]

    def _refuse_labels(self) -> None:
        most = self.intake.limits.labels
        if len({arrival.label for arrival in self._arrivals}) > most:
            raise InvalidContent.of("labels", f"a batch may have {most} classes")

    def _take_back(self, keys: set[str]) -> None:
        """Delete what no task names; what stays behind, as the database does not answer, is swept later."""
        with contextlib.suppress(StreamError, OSError):
            for key in keys - self.intake.ledger.image_keys(self.task_id):
                self.intake.blobs.delete(key)


def clear_leftovers(incoming_dir: Path) -> None:
    """Remove what processes that were killed left among the uploads; what another one may be at work on is younger."""
    oldest = time.time() - LEFT_OVER_AFTER_S
    for entry in incoming_dir.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if entry.stat().st_mtime < oldest:
                shutil.rmtree(entry, ignore_errors=True)


def check_image(path: Path, limits: IntakeLimits, decoder: Decoder) -> Checked:
    """Read and decode the image: type by content, size by header before it is decoded."""
    if (size_bytes := path.stat().st_size) > limits.image_bytes:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return Checked(sha256, size_bytes, fault="size", message=f"the image has more than {limits.image_bytes} bytes")
    data = path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return Checked(sha256, size_bytes, decoder.digest(data))
    except ImageError as error:
        return Checked(sha256, size_bytes, fault=_fault(error), message=str(error))


def refuse(faulty: list[tuple[str, Checked]], label_errors: list[FieldError]) -> None:
    """Raise what fits all that is wrong: UnsupportedType or TooLarge where it is only that, else InvalidContent."""
    errors = ([FieldError(name, checked.message) for name, checked in faulty] + label_errors)[:MAX_ERRORS]
    if not errors:
        return
    faults = {checked.fault for _, checked in faulty} | ({"content"} if label_errors else set())
    if faults == {"type"}:
        raise UnsupportedType(errors)
    if faults == {"size"}:
        raise TooLarge("an image is too large", errors)
    raise InvalidContent(errors)


def _fault(error: ImageError) -> Fault:
    if isinstance(error, UnsupportedImage):
        return "type"
    return "size" if isinstance(error, ImageTooLarge) else "content"
