"""What people will read: no text that shows as another."""

import pytest

from stream.errors import InvalidContent
from stream.ledger.words import made_shown, shown


@pytest.mark.parametrize("text", ["a\x1b[2Jb", "a\x00b", "a\u202eb", "a\u2066b", "a\x85b", "a\ud800b"])
def test_what_deceives_is_refused_everywhere(text: str) -> None:
    for lines in (False, True):
        with pytest.raises(InvalidContent) as caught:
            shown(text, "note", lines=lines)
        assert caught.value.errors[0].field == "note"


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\tb", "a\u2028b"])
def test_line_ends_belong_into_notes_only(text: str) -> None:
    assert shown(text, "note", lines=True) == text
    with pytest.raises(InvalidContent):
        shown(text, "name")


@pytest.mark.parametrize("text", ["cat", "\u200fقطة\u200e", "می\u200cخواهم", "👩\u200d🔬", "x" * 2000])
def test_texts_of_any_script_stay_as_they_are(text: str) -> None:
    assert shown(text, "name") == made_shown(text) == text


def test_file_names_are_kept_as_one_line_that_shows() -> None:
    assert made_shown("a\u202egnp\x00\n.exe") == "a?gnp??.exe"
