"""Texts whose length other programs decide."""

from wssupervisor.bounded import ITEM_CHARS, TEXT_CHARS, bounded, bounded_all, bounded_fields
from wssupervisor.errors import ConfigInvalid, OperationFailed


def test_a_text_that_fits_is_left_as_it_is() -> None:
    assert bounded("x" * TEXT_CHARS) == "x" * TEXT_CHARS


def test_of_a_long_text_the_beginning_is_kept() -> None:
    assert bounded("abcdefgh", 3) == "abc... [5 characters left out]"


def test_of_many_texts_the_first_are_kept_each_cut() -> None:
    texts = ["y" * 1000, *["x"] * 5000]
    found = bounded_all(texts, "; see there")

    assert found[0] == bounded("y" * 1000, ITEM_CHARS)
    assert len("\n".join(found[:-1])) <= TEXT_CHARS
    assert found[-1] == f"[{len(texts) - len(found) + 1} more left out; see there]"


def test_only_texts_of_a_note_are_cut() -> None:
    fields = bounded_fields({"reason": "x" * 10_000, "generation": 7, "replaced": None})

    assert len(str(fields["reason"])) < TEXT_CHARS + 50
    assert (fields["generation"], fields["replaced"]) == (7, None)


def test_no_error_has_a_text_without_bound() -> None:
    assert len(str(OperationFailed("x" * 100_000))) < TEXT_CHARS + 50
    error = ConfigInvalid([f"key {n} is not known" for n in range(3000)])

    assert len(str(error)) <= TEXT_CHARS
    assert len(error.problems) == 3000
