"""Kinds of notes: by name, and how they are logged."""

import pytest

from wssupervisor.fleet.notes import Note, NoteKind, Severity


def test_a_kind_is_found_by_what_is_recorded_and_one_of_another_version_is_not() -> None:
    assert [NoteKind.named(kind.value) for kind in NoteKind] == list(NoteKind)
    assert NoteKind.named("worker-sneezed") is None


@pytest.mark.parametrize(
    ("note", "expected"),
    [
        (Note(NoteKind.STARTED), False),
        (Note(NoteKind.WORKER_STALLED), True),
        (Note(NoteKind.RELOAD_FAILED), True),
        (Note(NoteKind.WORKER_EXITED, {"expected": False}), True),
        (Note(NoteKind.WORKER_EXITED, {"expected": True}), False),
        (Note(NoteKind.WORKER_EXITED, {"expected": None}), False),
    ],
)
def test_a_note_is_a_warning_by_its_kind_or_as_an_end_that_was_not_expected(
    note: Note, expected: bool
) -> None:
    assert note.is_warning is expected


def test_each_message_id_is_used_once_and_each_severity_at_all() -> None:
    ids = [kind.message_id for kind in NoteKind if kind.message_id is not None]

    assert len(ids) == len(set(ids))
    assert {kind.severity for kind in NoteKind} == set(Severity)
