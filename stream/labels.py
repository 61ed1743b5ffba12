"""What may be the name of a class."""

import unicodedata

from stream.errors import InvalidContent

MAX_CHARACTERS = 200

JOINERS = frozenset("\u200c\u200d")
"""Zero-width (non-)joiner: invisible, but words of several scripts and emoji are spelled with them."""

BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0" + "".join(map(chr, range(0x180B, 0x1810))))
"""Letters, marks and symbols that show nothing (Default_Ignorable_Code_Point, and the empty Braille pattern)."""


def clean_label(raw: str, field: str = "label", *, max_characters: int = MAX_CHARACTERS) -> str:
    """The label in NFC and trimmed, case kept.

    Raises:
        InvalidContent: naming `field`; the label is empty, longer than allowed, or holds a character that does
            not show: control, line separator, direction override, surrogate, blank letter, joiner at an end; or it
            has nothing but marks.
    """
    label = unicodedata.normalize("NFC", raw).strip()
    if not label:
        raise InvalidContent.of(field, "the label is empty")
    if len(label) > max_characters:
        raise InvalidContent.of(field, f"the label has {len(label)} characters, {max_characters} are allowed")
    for character in label:
        if _hidden(character):
            raise InvalidContent.of(field, f"the label holds the character U+{ord(character):04X}, which does not show")
    if label[0] in JOINERS or label[-1] in JOINERS:
        raise InvalidContent.of(field, "the label begins or ends with a joiner, which does not show")
    if all(unicodedata.category(character)[0] in "MZC" for character in label):
        raise InvalidContent.of(field, "the label has marks alone")
    return label


def _hidden(character: str) -> bool:
    if character in BLANKS:
        return True
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS
