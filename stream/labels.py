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

KEYCAP = "\u20e3"

SYMBOLS = frozenset({"So", "Sk", "Sm", "Po", "Pd"})

BLANKS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    + "".join(
        chr(code)
        for some in ((0x180B, 0x1810), (0x2065, 0x2066), (0xFE00, 0xFE0E), (0xFFF0, 0xFFF9), (0xE0000, 0xE1000))
        for code in range(*some)
    )
)
"""Letters, marks and symbols that show nothing (Default_Ignorable_Code_Point, and the empty Braille pattern)."""


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
        return after != KEYCAP and before != "\u2139" and unicodedata.category(before) not in SYMBOLS
    return character in BLANKS or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _joins(before: str, after: str) -> bool:
    if before in JOINERS or after in JOINERS:
        return False
    if any(unicodedata.name(one, "-").split()[0] in JOINING for one in (before, after)):
        return True
    return all(one == PICTURE or unicodedata.category(one) in ("So", "Sk") for one in (before, after))
