"""What may be the name of a class."""

import unicodedata

from stream.errors import InvalidContent

MAX_CHARACTERS = 200

JOINERS = frozenset("\u200c\u200d")
"""Zero-width (non-)joiner: invisible, but words of several scripts and emoji are spelled with them."""

JOINING = frozenset(
    [
        *("ARABIC", "SYRIAC", "MANDAIC", "NKO", "MONGOLIAN", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA"),
        *("TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "TIBETAN", "MYANMAR", "KHMER", "BALINESE", "JAVANESE"),
    ]
)
"""Scripts whose letters a joiner makes look otherwise, as the names of their characters begin."""

PICTURE, TEXT = "\ufe0f", "\ufe0e"
"""The variation selectors that make a symbol look like a picture or a letter."""

KEYCAP, KEYS = "\u20e3", frozenset("0123456789#*")
VARIED = frozenset("\u203c\u2049\u2139\u2194\u25fb\u25fc\u25fd\u25fe\u2934\u2935\u3030\u303d")
"""What the two make look otherwise, beside symbols of category So (emoji-variation-sequences.txt)."""

BLANKS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    + "".join(
        chr(code)
        for some in ((0x180B, 0x1810), (0x2065, 0x2066), (0xFE00, 0xFE0E), (0xFFF0, 0xFFF9), (0xE0000, 0xE1000))
        for code in range(*some)
    )
)
"""Letters, marks and symbols that show nothing (Default_Ignorable_Code_Point, and the empty Braille pattern)."""

STEPS = frozenset({".", ".."})
"""Steps in a path, which clients and proxies take out of a URL: `/classes/..` would never arrive as such."""


def new_label(raw: str, field: str = "label", *, max_characters: int = MAX_CHARACTERS) -> str:
    """The label of images that come in, as `clean_label` has it.

    Raises:
        InvalidContent: naming `field`; as `clean_label`, or the label is `.` or `..`, which no URL can name.
    """
    label = clean_label(raw, field, max_characters=max_characters)
    if label in STEPS:
        raise InvalidContent.of(field, f"the label {label} is a step in a path: no URL could name the class")
    return label


def clean_label(raw: str, field: str = "label", *, max_characters: int = MAX_CHARACTERS) -> str:
    """The label in NFC and trimmed, case kept.

    Raises:
        InvalidContent: naming `field`; the label is empty, longer than allowed, or holds a character that does
            not show: control, line separator, direction override, surrogate, blank letter, joiner between what it
            does not join, variation of what has none; or it has nothing but marks.
    """
    label = unicodedata.normalize("NFC", raw).strip()
    if not label:
        raise InvalidContent.of(field, "the label is empty")
    if len(label) > max_characters:
        raise InvalidContent.of(field, f"the label has {len(label)} characters, {max_characters} are allowed")
    for before, character, after in zip(" " + label, label, label[1:] + " ", strict=False):
        if _hidden(before, character, after):
            raise InvalidContent.of(
                field, f"the label holds the character U+{ord(character):04X}, which does not show there"
            )
    if all(unicodedata.category(character)[0] in "MZC" for character in label):
        raise InvalidContent.of(field, "the label has marks alone")
    return label


def _hidden(before: str, character: str, after: str) -> bool:
    """Whether the character between these two does not show, nor make them look otherwise."""
    if character in JOINERS:
        return not _joins(before, after)
    if character in (PICTURE, TEXT):
        return not (_varies(before) or (before in KEYS and after == KEYCAP))
    return character in BLANKS or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _varies(symbol: str) -> bool:
    return symbol in VARIED or unicodedata.category(symbol) == "So"


def _joins(before: str, after: str) -> bool:
    """Whether a joiner between these two is seen: in a word of certain scripts, or in a picture made of several."""
    kinds = [unicodedata.category(one) for one in (before, after)]
    if all(kind[0] in "LM" for kind in kinds):
        return any(unicodedata.name(one, "-").split()[0] in JOINING for one in (before, after))
    return all(one == PICTURE or kind in ("So", "Sk") for one, kind in zip((before, after), kinds, strict=True))
