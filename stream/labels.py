"""What may be the name of a class."""

import unicodedata

from stream.errors import InvalidContent

MAX_CHARACTERS = 200

JOINERS = frozenset("\u200c\u200d")
"""Zero-width (non-)joiner: invisible, but words of several scripts and emoji are spelled with them."""


def clean_label(raw: str, field: str = "label", *, max_characters: int = MAX_CHARACTERS) -> str:
    """The label in NFC and trimmed, case kept.

    Raises:
        InvalidContent: naming `field`; the label is empty, longer than allowed, or holds a character that does
            not show: control, line separator, direction override, surrogate.
    """
    label = unicodedata.normalize("NFC", raw).strip()
    if not label:
        raise InvalidContent.of(field, "the label is empty")
    if len(label) > max_characters:
        raise InvalidContent.of(field, f"the label has {len(label)} characters, {max_characters} are allowed")
    for character in label:
        if _hidden(character):
            raise InvalidContent.of(field, f"the label holds the character U+{ord(character):04X}, which does not show")
    return label


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS
