"""Files decide by what they are: regular, ours, in a directory that only we can write."""

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.privilege import needs_root
from wssupervisor import files
from wssupervisor.control.safe_place import danger
from wssupervisor.own_directory import OwnDirectory

OTHER = 65534
READ = os.O_RDONLY
MAKE = os.O_RDWR | os.O_CREAT


@pytest.fixture
def own(tmp_path: Path) -> OwnDirectory:
    (tmp_path / "file").write_text("own")
    return OwnDirectory(tmp_path)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def given_away(path: Path) -> None:
    os.chown(path, OTHER, -1)


def opened_up(path: Path) -> None:
    path.chmod(0o620)


STRANGE: list[tuple[Callable[[Path], None], str]] = [
    (linked, "symbolic link"),
    (fifo, "not a regular file"),
    (opened_up, "other users may write to the file"),
]


@pytest.mark.parametrize(("make", "why"), STRANGE, ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.parametrize("flags", [READ, MAKE])
def test_what_is_no_file_of_ours_is_neither_read_nor_written(
    own: OwnDirectory, make: Callable[[Path], None], why: str, flags: int
) -> None:
    make(own.path / "file")

    with pytest.raises(OSError, match=why):
        own.open("file", flags, 0o600)


@needs_root
def test_a_file_or_directory_of_another_user_is_not_believed(own: OwnDirectory) -> None:
    given_away(own.path / "file")
    with pytest.raises(PermissionError, match=f"the file belongs to another user .uid {OTHER}."):
        own.read("file", 10)
    given_away(own.path)
    with pytest.raises(PermissionError, match="the directory belongs to another user"):
        own.read("file", 10)


def test_a_directory_that_others_may_write_is_not_used(own: OwnDirectory) -> None:
    own.path.chmod(0o770)

    with pytest.raises(PermissionError, match="other users may write to the directory"):
        own.open("new", MAKE, 0o600)
    assert not (own.path / "new").exists()


def test_a_link_in_place_of_the_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        OwnDirectory(tmp_path / "link", makes=True).open("new", MAKE, 0o600)
    assert list((tmp_path / "real").iterdir()) == []


def test_it_is_made_where_that_is_wanted_and_only_one_level_of_it(tmp_path: Path) -> None:
    os.close(OwnDirectory(tmp_path / "one", makes=True).open("file", MAKE, 0o600))
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o750
    for missing in (OwnDirectory(tmp_path / "two"), OwnDirectory(tmp_path / "3/4", makes=True)):
        with pytest.raises(FileNotFoundError):
            missing.open("file", MAKE, 0o600)


def test_more_than_the_limit_is_not_read(own: OwnDirectory) -> None:
    assert own.read("file", 3) == b"own"
    with pytest.raises(OSError, match="larger than 2 bytes"):
        own.read("file", 2)
    assert own.read_end("file", 2) == b"wn"


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/tty", "/", "/proc/self/fd"])
def test_only_a_regular_file_is_read(path: str) -> None:
    with pytest.raises(OSError, match=r"not a regular file|No such device|directory"):
        files.read_regular(path, 10)


def test_a_file_without_an_end_is_read_up_to_its_limit() -> None:
    with pytest.raises(OSError, match="larger than 1 KiB"):
        files.read_regular("/proc/kallsyms", 1 << 10)


# -- where a control socket may lie


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wss-") as path:
        yield Path(path)


def test_a_place_of_ours_in_the_temporary_directory_is_safe_and_that_itself_is_not(
    place: Path,
) -> None:
    assert danger(place) is None
    reason = danger(place.parent)
    assert reason is not None
    assert str(place.parent) in reason


def test_what_others_may_write_is_dangerous_at_every_level(place: Path) -> None:
    below = place / "a/b"
    below.mkdir(parents=True)
    below.chmod(0o775)
    assert danger(below) == f"other users may write to {below} (mode 0775)"
    below.chmod(0o755)
    below.parent.chmod(0o777)
    assert danger(below) == f"other users may write to {below.parent} (mode 0777)"
    below.parent.chmod(0o1777)
    assert danger(below) is None


def test_below_our_private_directory_what_is_above_it_does_not_count(place: Path) -> None:
    """As in containers whose temporary directory has mode 0777."""
    private = place / "shared/own"
    (private / "chat").mkdir(parents=True)
    private.parent.chmod(0o777)
    assert danger(private / "chat") is not None
    assert danger(private / "chat", private=private) is None
    (private / "chat").chmod(0o770)
    assert danger(private / "chat", private=private) is not None
    (private / "link").symlink_to("chat")
    assert danger(private / "link", private=private) == f"{private}/link is not a directory"


@needs_root
def test_a_link_or_a_directory_of_another_user_on_the_way_is_dangerous(place: Path) -> None:
    below = place / "a/b"
    below.mkdir(parents=True)
    link = place / "link"
    link.symlink_to(below)
    assert danger(link) is None
    os.lchown(link, OTHER, -1)
    assert danger(link) == f"the link {link} belongs to another user (uid {OTHER})"
    os.chown(below.parent, OTHER, -1)
    assert danger(below) == f"{below.parent} belongs to another user (uid {OTHER})"


def test_modes_are_as_wanted_whatever_the_umask_of_the_workers(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        own = OwnDirectory(tmp_path / "own", makes=True)
        os.close(own.open("file", os.O_RDWR | os.O_CREAT, 0o640))
    finally:
        os.umask(before)

    assert stat.filemode((tmp_path / "own").stat().st_mode) == "drwxr-x---"
    assert stat.filemode((tmp_path / "own/file").stat().st_mode) == "-rw-r-----"
