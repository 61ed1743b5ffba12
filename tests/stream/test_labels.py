"""What may be the name of a class."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.errors import InvalidContent
from stream.labels import clean_label, new_label


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        ("cat", "cat"),
        ("  Cat \t", "Cat"),
        ("cafe\u0301", "caf\u00e9"),
        ("猫", "猫"),
        ("can't / 50 %", "can't / 50 %"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001f3f3\ufe0f\u200d\U0001f308"),
        ("1\ufe0f\u20e3", "1\ufe0f\u20e3"),
        ("\u2764\ufe0f", "\u2764\ufe0f"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\u0915\u0930\u094d\u200d\u092e", "\u0915\u0930\u094d\u200d\u092e"),
        ("x" * 200, "x" * 200),
    ],
)
def test_labels_are_normalised_and_trimmed(raw: str, label: str) -> None:
    assert clean_label(raw) == label


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "  ",
        "\u200b",
        "a\x00b",
        "a\nb",
        "a\x7fb",
        "\u202ecat",
        "a\u2066b",
        "a\u2028b",
        "a\ufeffb",
        "\ud800",
        "\u200d",
        "cat\u200d",
        "\u200ccat",
        "ca\u200dt",
        "\u0633\u0644\u0627\u0645\u200c",
        "\u200c\u0633\u0644\u0627\u0645",
        "\u0633\u0644\u200c \u0645",
        "R&\ufe0fB",
        "a-\ufe0fb",
        "50 %\ufe0f",
        "x\ufe0f\u20e3",
        "cat\ufe0f",
        "c\ufe00at",
        "\u4e00\U000e0100",
        "cat\u2065",
        "cat\ufff0",
        "cat\U000e0fff",
        "\u0915\u200d\u200d\u0915",
        "\u3164",
        "a\u2800b",
        "\ufe0f",
        "\u0301",
        "\u034f",
        "x" * 201,
    ],
)
def test_labels_that_are_empty_hidden_or_too_long_are_refused_by_name(raw: str) -> None:
    with pytest.raises(InvalidContent) as refused:
        clean_label(raw, "labels[3]")
    assert refused.value.errors[0].field == "labels[3]"


def test_the_longest_label_can_be_shorter() -> None:
    with pytest.raises(InvalidContent, match="4 characters, 3 are allowed"):
        clean_label("four", max_characters=3)


@given(st.text(max_size=300))
def test_whatever_is_taken_is_clean_and_stays_as_it_is(raw: str) -> None:
    try:
        label = clean_label(raw)
    except InvalidContent:
        return
    assert clean_label(label) == label
    assert 1 <= len(label) <= 200
    assert unicodedata.is_normalized("NFC", label)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in label)
    label.encode()


@pytest.mark.parametrize("raw", [".", "..", " . ", "\t.."])
def test_a_step_in_a_path_names_no_new_class(raw: str) -> None:
    with pytest.raises(InvalidContent, match="step in a path") as refused:
        new_label(raw, "labels[3]")
    assert [error.field for error in refused.value.errors] == ["labels[3]"]
    assert clean_label(raw) == raw.strip()


@pytest.mark.parametrize("raw", ["...", ".cat", "cat.", "../cat", "a/..", "./."])
def test_other_labels_with_dots_can_be_named_in_a_url(raw: str) -> None:
    assert new_label(raw) == raw
