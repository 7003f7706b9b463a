"""What a supervisor saves for the one that starts after its death."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.saved import NAME, saved_state
from wssupervisor.fleet.model import WorkerId
from wssupervisor.fleet.notes import Note, NoteKind
from wssupervisor.fleet.orders import SendDrain, Signal
from wssupervisor.fleet.snapshot import plain
from wssupervisor.runtime.handover.state_file import SavedState, StateFile, Unusable
from wssupervisor.runtime.handover.state_writer import StateWriter


@pytest.fixture
def written() -> SavedState:
    """A state in the middle of a drain, as of this boot."""
    return saved_state()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[StateFile]:
    file = StateFile(str(tmp_path / "state"))
    yield file
    file.close()


def test_a_state_in_the_middle_of_a_drain_is_read_back(written: SavedState) -> None:
    fleet = written.document.load_fleet()
    states = [generation.state.value for generation in fleet.state.generations.values()]
    workers = {worker.id for worker in written.document.supervisor.crew.workers}

    assert states == ["draining", "active"]
    assert workers == {worker.id for worker in fleet.state.workers()}


def test_the_last_that_was_written_is_read(
    file: StateFile, written: SavedState, tmp_path: Path
) -> None:
    for at in (1.0, 2.0, 3.0):
        file.write(replace(written, at=at))

        again = StateFile(str(tmp_path / "state")).read(NAME)
        assert again == replace(written, at=at)


def test_another_program_goes_on_with_the_older_file(
    file: StateFile, written: SavedState, tmp_path: Path
) -> None:
    for at in (1.0, 2.0, 3.0):
        file.write(replace(written, at=at))
    later = StateFile(str(tmp_path / "state"))
    later.write(replace(written, at=4.0))
    later.close()

    found = file.read(NAME)
    assert found is not None
    assert found.at == 4.0


@pytest.mark.parametrize("size", [0, 1, 61, 62, 500, -1])
def test_a_torn_file_leaves_the_state_before(
    file: StateFile, written: SavedState, tmp_path: Path, size: int
) -> None:
    """Cut anywhere: in its head, in the text, one byte before its end."""
    file.write(replace(written, at=1.0))
    file.write(replace(written, at=2.0))
    newest = max(tmp_path.iterdir(), key=lambda path: path.read_bytes()[:40])
    newest.write_bytes(newest.read_bytes()[:size])

    found = file.read(NAME)
    assert found is not None
    assert found.at == 1.0


def test_a_flipped_bit_is_noticed(file: StateFile, written: SavedState, tmp_path: Path) -> None:
    file.write(written)
    (path,) = [path for path in tmp_path.iterdir() if path.stat().st_size]
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)

    with pytest.raises(Unusable, match="it is incomplete"):
        file.read(NAME)


def test_a_shorter_state_over_a_longer_one_is_whole(file: StateFile, written: SavedState) -> None:
    """Files are written over, and never cut: that would be one more moment to die in."""
    for _ in range(2):
        file.write(written)
    short = replace(written, document=replace(written.document, config_text=None))
    file.write(short)

    assert file.read(NAME) == short


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "in a format that"),
        ({"boot": "another"}, "it is from another boot of this machine"),
        ({"name": "feed"}, "it belongs to instance 'feed'"),
        ({"orders": [{"worker": "1.0.1"}]}, "it cannot be read: KeyError"),
        ({"orders": [{"type": "Quit", "status": 0}]}, "it cannot be read: KeyError"),
        ({"document": None}, "it cannot be read: TypeError"),
        ({"at": "soon"}, "it cannot be read"),
    ],
)
def test_state_that_must_not_be_trusted_says_why(
    file: StateFile, written: SavedState, change: dict[str, object], reason: str
) -> None:
    file.write_plain({**plain(written), **change})

    with pytest.raises(Unusable, match=reason):
        file.read(NAME)


def test_nothing_is_known_where_nothing_was_written(file: StateFile) -> None:
    assert not file.exists()
    assert file.read(NAME) is None


def test_nothing_is_left_when_it_is_removed(
    file: StateFile, written: SavedState, tmp_path: Path
) -> None:
    file.write(written)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    file.remove()

    assert list(tmp_path.iterdir()) == []


def test_a_link_in_its_place_is_not_followed(
    file: StateFile, written: SavedState, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "state.1").symlink_to(victim)

    with pytest.raises(OSError, match="symbolic link"):
        file.write(written)
    assert victim.read_text() == "precious"


def test_a_field_that_is_missing_is_not_made_up(file: StateFile, written: SavedState) -> None:
    data = plain(written)
    del data["document"]["supervisor"]["executions"]
    file.write_plain(data)

    with pytest.raises(Unusable, match="it cannot be read: KeyError"):
        file.read(NAME)


def test_only_what_was_meant_for_workers_is_done_again(
    file: StateFile, written: SavedState
) -> None:
    one, other = WorkerId(1, 0, 1), WorkerId(1, 1, 1)
    drain, signal = SendDrain(one, stop_accepting=True), Signal(other, "SIGTERM")

    StateWriter(file, NAME, lambda: written.document).keep(
        [Note(NoteKind.CUTOVER, {}), drain, signal]
    )

    found = file.read(NAME)
    assert found is not None
    assert found.orders == (drain, signal)
