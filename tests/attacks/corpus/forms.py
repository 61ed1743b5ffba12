"""Hostile forms, labels and JSON."""

import unicodedata
from collections.abc import Iterator

from tests.attacks.corpus.attack import BOUNDARY, MULTIPART, Attack, form, labelled, part
from tests.attacks.corpus.making import encoded

PICTURE = encoded("PNG")
LABEL = part("labels", b"cat")
IMAGE = part("images", PICTURE, "a.png")

GOOD_LABELS = (
    "Möwe",
    "猫",
    "قطة",
    "बिल्ली",
    "קוֹל",
    "кошка",
    "แมว",
    "👩\u200d🔬",
    "x" * 200,
    "<script>alert(1)</script>",
    "'; drop table items; --",
)
BAD_LABELS = (
    "",
    "   ",
    "\u2003\u3000",
    "x" * 201,
    "a\x00b",
    "a\u202eb",
    "a\x1b[31mb",
    "a\u200bb",
    "a\u2028b",
    "\ufeffa",
)

JSON = "application/json"
IDENTIFIER = "0" * 32


def attacks() -> Iterator[Attack]:
    """Every form and every body of JSON."""
    yield from labels()
    yield from forms()
    yield from bodies()


def labels() -> Iterator[Attack]:
    """Names of classes."""
    for number, label in enumerate(GOOD_LABELS):
        yield Attack(f"label: good {number}", "/learn", lambda label=label: labelled(PICTURE, label), 202)  # type: ignore[misc]
        decomposed = unicodedata.normalize("NFD", label)
        if decomposed != label and len(decomposed) <= 200:
            yield Attack(f"label: taken apart {number}", "/learn", lambda it=decomposed: labelled(PICTURE, it), 202)  # type: ignore[misc]
    for number, label in enumerate(BAD_LABELS):
        yield Attack(f"label: bad {number}", "/learn", lambda label=label: labelled(PICTURE, label), 422, "labels[0]")  # type: ignore[misc]
    yield Attack("label: not UTF-8", "/learn", lambda: form(IMAGE, part("labels", b"\xff\xfe")), 422, "labels[0]")
    yield Attack("label: 20,000 bytes", "/learn", lambda: form(IMAGE, part("labels", b"x" * 20_000)), 413)
    yield Attack("label: a file", "/learn", lambda: form(IMAGE, part("labels", b"cat", "cat.txt")), 422, "labels[0]")


def forms() -> Iterator[Attack]:
    """Ways to build a form."""
    endless = ";" * 60_000
    for path in ("/learn", "/predict"):
        yield Attack(f"{path}: a content type of 60,000 options", path, bytes, 400, None, MULTIPART + endless)
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="a"{endless[:3000]}\r\n\r\n'
    yield Attack("form: a part of 3,000 options", "/learn", lambda: form(head.encode() + b"x\r\n"), 400)
    many = form(*[part("labels", b"x")] * 10_000)
    for name, body, status, field in (
        ("10,000 labels and no image", many, 422, "images"),
        ("10,000 empty images", form(*[part("images", b"", "")] * 10_000, *[LABEL] * 10_000), 415, "images[0]"),
        ("no parts", form(), 422, "images"),
        ("nothing", b"", 400, None),
        ("no labels", form(IMAGE), 422, "labels"),
        ("more labels than images", form(IMAGE, LABEL, LABEL), 422, "labels"),
        ("images and an archive", form(IMAGE, LABEL, part("archive", b"PK", "a.zip")), 422, "images"),
        ("two archives", form(part("archive", b"PK", "a"), part("archive", b"PK", "b")), 422, "archive"),
        ("an unknown field", form(IMAGE, LABEL, part("__class__", b"x")), 422, "__class__"),
        ("a path as the field", form(part("../../x", PICTURE, "a")), 422, "../../x"),
        ("a URL as the image", form(part("images", b"http://example.invalid/a.jpg"), LABEL), 415, "images[0]"),
        ("a split that is none", form(IMAGE, LABEL, part("splits", b"test")), 422, "splits[0]"),
        ("a name of 201 characters", form(IMAGE, LABEL, part("name", b"x" * 201)), 422, "name"),
        ("a name with NUL", form(IMAGE, LABEL, part("name", b"a\x00b")), 422, "name"),
        ("a name that turns around", form(IMAGE, LABEL, part("name", "a\u202eb".encode())), 422, "name"),
        ("a name with a line's end", form(IMAGE, LABEL, part("name", b"a\nb")), 422, "name"),
        ("a note that turns around", form(IMAGE, LABEL, part("note", "a\u202eb".encode())), 422, "note"),
        (
            "a note in Arabic with its marks",
            form(IMAGE, LABEL, part("note", "\u200fقطة\u200e cat".encode())),
            202,
            None,
        ),
        ("a note of two lines", form(IMAGE, LABEL, part("note", b"one\r\ntwo\tthree")), 202, None),
        ("a note of 2,001 characters", form(IMAGE, LABEL, part("note", b"x" * 2001)), 422, "note"),
        ("a file name of two folders up", labelled(PICTURE, "cat", "../../../etc/passwd"), 202, None),
        ("a file name that turns around", labelled(PICTURE, "cat", "a\u202egnp.exe"), 202, None),
        ("a file name with NUL", labelled(PICTURE, "cat", "a\x00b.png"), 202, None),
        ("a file name of 10,000 characters", labelled(PICTURE, "cat", "x" * 10_000), 202, None),
        ("a header of 20,000 bytes", labelled(PICTURE, "cat", "x" * 20_000), 400, None),
        ("cut short", labelled(PICTURE)[:-60], 400, None),
        ("another boundary", labelled(PICTURE).replace(BOUNDARY.encode(), b"another"), 400, None),
        ("a part without a name", form(IMAGE.replace(b'name="images"; ', b"")), 400, None),
        ("line ends of one byte", labelled(PICTURE).replace(b"\r\n", b"\n"), 400, None),
        ("a form in a form", form(part("images", form(IMAGE, LABEL), "a.png"), LABEL), 415, "images[0]"),
    ):
        yield Attack(f"form: {name}", "/learn", lambda body=body: body, status, field)  # type: ignore[misc]
    for name, kind, status in (
        ("no boundary", "multipart/form-data", 400),
        ("JSON instead", JSON, 415),
        ("multipart of another kind", MULTIPART.replace("form-data", "mixed"), 415),
        ("a boundary of nothing", 'multipart/form-data; boundary=""', 400),
    ):
        yield Attack(f"form: {name}", "/learn", lambda: labelled(PICTURE), status, None, kind)
    yield Attack("predict: 257 images", "/predict", lambda: form(*[IMAGE] * 257), 413, "images")
    yield Attack(
        "predict: a good and a bad image", "/predict", lambda: form(IMAGE, part("images", b"x", "b")), 415, "images[1]"
    )
    yield Attack("predict: no images", "/predict", form, 422, "images")
    yield Attack("predict: a label", "/predict", lambda: form(IMAGE, LABEL), 422, "labels")
    yield Attack("predict: HTML by its type", "/predict", lambda: PICTURE, 415, None, "text/html")
    yield Attack("predict: nothing", "/predict", lambda: b"", 400, None, "image/png")
    yield Attack("predict: 65 MB", "/predict", lambda: bytes(65 << 20), 413, None, "image/png")


def bodies() -> Iterator[Attack]:
    """JSON, sent to the routes that take it, and paths and queries."""
    for name, body, status, field in (
        ("10,000 lists in lists", b"[" * 10_000 + b"]" * 10_000, 400, None),
        ("10,000 objects in objects", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, None),
        ("a number of 4,000 digits", b'{"version": ' + b"9" * 4000 + b"}", 422, "version"),
        ("a number of 60,000 digits", b'{"version": ' + b"9" * 60_000 + b"}", 400, None),
        ("a number beyond the database's", b'{"version": 9223372036854775808}', 422, "version"),
        ("infinity", b'{"version": 1e999}', 422, "version"),
        ("no number", b'{"version": NaN}', 422, "version"),
        ("less than nothing", b'{"version": -1}', 422, "version"),
        ("a reason with NUL", b'{"version": 2, "reason": "a\\u0000b"}', 422, "reason"),
        ("half a character", b'{"version": 2, "reason": "\\ud800"}', 400, None),
        ("not UTF-8", b'{"reason": "\xff"}', 400, None),
        ("100 KB", b'{"reason": "' + b"x" * 100_000 + b'"}', 413, None),
        ("a list", b"[]", 422, "body"),
        ("nothing", b"null", 422, "body"),
        ("an unknown member", b'{"__proto__": {}}', 422, "__proto__"),
    ):
        yield Attack(f"JSON: {name}", "/rollback", lambda body=body: body, status, field, JSON)  # type: ignore[misc]
    huge = "9" * 4000
    for name, path, status, field in (
        ("a huge top_k", f"/predict?top_k={huge}", 422, "top_k"),
        ("a huge version", f"/predict?version={huge}", 422, "version"),
        ("a version beyond the database's", "/predict?version=9223372036854775808", 422, "version"),
        ("an alias with NUL", "/predict?alias=a%00b", 404, None),
        ("an alias that leads upwards", "/predict?alias=../../etc/passwd", 404, None),
        ("an unknown parameter", "/predict?url=http://example.invalid/a.jpg", 422, "url"),
    ):
        yield Attack(f"query: {name}", path, lambda: PICTURE, status, field, "image/png")
    yield Attack("query: a task that leads upwards", "/learn?task=../../etc", lambda: labelled(PICTURE), 404)
    yield Attack("query: a base that is no number", "/learn?base=" + huge, lambda: labelled(PICTURE), 422, "base")
