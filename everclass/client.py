"""The client of a continual-learning model server: teach it, ask it, look at what it learned, go back."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from everclass.errors import NotTheContract, Problem, TaskCancelled, TaskFailed, WaitedTooLong
from everclass.images import LabelledImage, folder_images
from everclass.lessons import Wishes, file_field, send_file, send_images
from everclass.multipart import File, Multipart, Sent
from everclass.results import Answer, AuditEntry, Page, Promotion, Readiness, Task, TaskState, Version, VersionClass
from everclass.transport import Model, Patience, Query, Transport, json_object, result
from everclass.watching import watch

DEFAULT_URL = "http://127.0.0.1:3000"
KEY_VARIABLE = "EVERCLASS_KEY"
CHUNK_BYTES = 1024 * 1024
Image = bytes | Path | str
_ALIASES: TypeAdapter[dict[str, int]] = TypeAdapter(dict[str, int])


class Client:
    """A connection to one server; usable from several threads, and as a context manager.

    `key` is a bearer token, by default that of the environment's EVERCLASS_KEY. `patience` says how long calls may take
    and how often they are tried again; what writes goes out under an idempotency key that is made for each call, so
    that nothing is done twice. Every method raises NoAnswer, NotTheContract or a Problem (see `everclass.errors`).
    """

    def __init__(self, url: str = DEFAULT_URL, *, key: str | None = None, patience: Patience | None = None) -> None:
        given = os.environ.get(KEY_VARIABLE) if key is None else key
        self._transport = Transport(url, given, patience or Patience())

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._transport.url

    def close(self) -> None:
        """Give the connections back."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def learn(self, source: Path | str, *, on_sent: Sent | None = None, **wishes: Unpack[Wishes]) -> Task:
        """Learn from a folder (one folder a class), a zip or tar archive of such a one, or a Parquet file.

        The folder that an image lies in names its class, whatever lies above it. Returns the task once every image is
        safe on the server; `on_sent(bytes sent, bytes in all)` is called for each request as it goes up. Raises
        FileNotFoundError, ValueError for a file that is none of these or a folder whose classes are not clear,
        WrongContent with the images and labels that are refused, of which then none is kept.
        """
        path = Path(source)
        if not path.exists():
            raise FileNotFoundError(f"there is no {path}")
        if path.is_dir():
            return send_images(self._transport, folder_images(path), on_sent, **wishes)
        field = file_field(path)
        if field is None:
            raise ValueError(f"{path} is neither a folder nor, by its name, a zip or tar archive or a Parquet file")
        return send_file(self._transport, field, path, on_sent, **wishes)

    def learn_images(
        self, images: Iterable[LabelledImage], *, on_sent: Sent | None = None, **wishes: Unpack[Wishes]
    ) -> Task:
        """Learn from labelled images in memory or in files; otherwise as `learn`."""
        return send_images(self._transport, images, on_sent, **wishes)

    def predict(
        self, images: Image | Sequence[Image], *, top_k: int = 5, version: int | None = None, alias: str | None = None
    ) -> Answer:
        """What one or several encoded images show, by the version in force or the one that is named.

        An image is its bytes or the path of its file. Scores are calibrated and 0–1; `top` holds `top_k` candidates. A
        refusal names the file that it is about.
        """
        several = [images] if isinstance(images, bytes | Path | str) else images
        form = Multipart([_image_file(image) for image in several])
        query = {"top_k": top_k, "version": version, "alias": alias}
        try:
            response = self._transport.call("POST", "/predict", query=query, body=form)
        except Problem as error:
            raise error.of_images([None if isinstance(image, bytes) else str(image) for image in several]) from error
        seq = response.headers.get("X-Promotion-Seq", "")
        return result(Answer, json_object(response) | {"promotion_seq": int(seq) if seq.isdigit() else None})

    def readiness(self) -> Readiness:
        """Whether the server can answer, with which version, and when its learner was last seen."""
        return result(Readiness, self._transport.probe("/readyz"))

    def tasks(self, *, state: TaskState | None = None) -> Iterator[Task]:
        """All tasks, newest first, fetched in parts; with `state`, those in it."""
        return self._pages("/tasks", Task, {"state": state})

    def task(self, task_id: str) -> Task:
        """One task."""
        return self._get(Task, f"/tasks/{_segment(task_id)}")

    def cancel(self, task_id: str, *, purge: bool = False) -> Task:
        """Cancel a task, while it learns too; its images are kept for a retry. A Conflict where it has ended already.

        With `purge` nothing is cancelled: the images that are kept of an ended task are deleted, for good. A Conflict
        where they are still needed.
        """
        path = f"/tasks/{_segment(task_id)}"
        return result(Task, self._transport.call("DELETE", path, query={"purge": purge}))

    def commit(self, task_id: str) -> Task:
        """Close an open task and put it in the queue."""
        return self._post(Task, f"/tasks/{_segment(task_id)}/commit")

    def watch(self, task_id: str, *, timeout_s: float | None = None, poll_s: float = 1.0) -> Iterator[Task]:
        """The task each time it changes, until it has ended or `timeout_s` seconds have gone by."""
        return watch(self._transport, f"/tasks/{_segment(task_id)}", poll_s=poll_s, timeout_s=timeout_s)

    def wait_for_task(
        self,
        task_id: str,
        *,
        timeout_s: float | None = None,
        poll_s: float = 1.0,
        on_progress: Callable[[Task], None] | None = None,
    ) -> Task:
        """The task once it is done; `on_progress` is called each time it changes.

        Raises TaskFailed, TaskCancelled, or WaitedTooLong after `timeout_s` seconds (the task then goes on).
        """
        task = self.task(task_id)
        for task in self.watch(task_id, timeout_s=timeout_s, poll_s=poll_s):
            if on_progress is not None:
                on_progress(task)
        if not task.ended:
            raise WaitedTooLong(task, timeout_s or 0.0)
        if task.state == "failed":
            raise TaskFailed(task)
        if task.state == "cancelled":
            raise TaskCancelled(task)
        return task

    def retry(self, task_id: str) -> Task:
        """Put a failed or cancelled task back in the queue."""
        return self._post(Task, f"/tasks/{_segment(task_id)}/retry")

    def versions(self) -> Iterator[Version]:
        """All versions, newest first, fetched in parts."""
        return self._pages("/versions", Version, {})

    def version(self, number: int) -> Version:
        """One version, with its classes, accuracy, forgetting and the gate's figures."""
        return self._get(Version, f"/versions/{number}")

    def delete_version(self, number: int) -> None:
        """Delete a version; a Conflict while something needs it."""
        self._transport.call("DELETE", f"/versions/{number}")

    def classes(self) -> list[VersionClass]:
        """The classes that the version in force knows."""
        return list(self._pages("/classes", VersionClass, {}))

    def forget(self, label: str, *, purge: bool = False) -> Task:
        """Have a version made that does not know the class; answers the task, which is queued.

        With `purge`, once that version serves, every other version that knows the class is deleted, and with them the
        class's statistics and stored images. That cannot be taken back.
        """
        path = f"/classes/{_segment(label)}"
        return result(Task, self._transport.call("DELETE", path, query={"purge": purge or None}))

    def aliases(self) -> dict[str, int]:
        """Which version each alias points at; `serving` is what answers."""
        value = json_object(self._transport.call("GET", "/aliases"))
        try:
            return _ALIASES.validate_python(value)
        except ValidationError as error:
            raise NotTheContract(str(error)) from None

    def promotions(self, *, at: str | None = None) -> Iterator[Promotion]:
        """The log of alias moves, newest first; with `at` (RFC 3339), the one that served then."""
        return self._pages("/promotions", Promotion, {"at": at})

    def audit(self) -> Iterator[AuditEntry]:
        """The log of what was changed and who was refused, newest first, fetched in parts."""
        return self._pages("/audit", AuditEntry, {})

    def rollback(
        self,
        *,
        version: int | None = None,
        task: str | None = None,
        reason: str | None = None,
        expected: int | None = None,
        expected_seq: int | None = None,
    ) -> Promotion:
        """Let `version` serve again, or the base of `task`, or by default the parent of the version in force.

        `expected` (a version) and `expected_seq` (a promotion) are what one believes in force: a Conflict where that is
        something else by now.
        """
        wish = {"version": version, "task": task, "reason": reason, "expected": _belief(expected, expected_seq)}
        return self._post(Promotion, "/rollback", _said(wish))

    def promote(
        self,
        version: int,
        *,
        alias: str = "serving",
        reason: str | None = None,
        expected: int | None = None,
        expected_seq: int | None = None,
    ) -> Promotion:
        """Point an alias at a version; `serving` after the version has been loaded, checked and warmed."""
        wish = {"version": version, "reason": reason, "expected": _belief(expected, expected_seq)}
        return result(Promotion, self._transport.call("PUT", f"/aliases/{_segment(alias)}", json=_said(wish)))

    def remove_alias(self, alias: str, *, reason: str | None = None, expected: int | None = None) -> Promotion:
        """Let the alias point at nothing; a Conflict for `serving`, or where it does not point at `expected`."""
        query: Query = {"reason": reason, "expected": expected}
        return result(Promotion, self._transport.call("DELETE", f"/aliases/{_segment(alias)}", query=query))

    def export(self, version: int, to: Path, *, format: str = "onnx") -> Path:
        """Write a version as one archive that runs without Everclass. The file `to` appears only once it is whole."""
        timeout_s = self._transport.patience.transfer_s
        part = to.with_name(to.name + ".part")
        try:
            with (
                self._transport.stream(
                    f"/versions/{version}/export", query={"format": format}, timeout_s=timeout_s
                ) as response,
                part.open("wb") as file,
            ):
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    file.write(chunk)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
        return to

    def _get(self, kind: type[Model], path: str, query: Query | None = None) -> Model:
        return result(kind, self._transport.call("GET", path, query=query))

    def _post(self, kind: type[Model], path: str, body: dict[str, Any] | None = None) -> Model:
        return result(kind, self._transport.call("POST", path, json=body))

    def _pages(self, path: str, kind: type[Model], query: Query) -> Iterator[Model]:
        cursor: str | None = None
        while True:
            page = self._get(Page[dict[str, Any]], path, {**query, "cursor": cursor})
            yield from (result(kind, item) for item in page.items)
            if page.next is None:
                return
            cursor = str(page.next)


def _said(wish: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wish.items() if value is not None}


def _belief(version: int | None, seq: int | None) -> int | dict[str, Any] | None:
    return version if seq is None else _said({"version": version, "seq": seq})


def _segment(text: str) -> str:
    return quote(text, safe="")


def _image_file(image: Image) -> File:
    if isinstance(image, bytes):
        return File("images", "image", image)
    return File("images", Path(image).name, Path(image))
