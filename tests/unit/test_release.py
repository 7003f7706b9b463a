"""A release is what was there at one moment, and stays that."""

from dataclasses import replace
from pathlib import Path

import pytest

from wssupervisor.config import App, Config, Listen
from wssupervisor.errors import ReleaseInvalid
from wssupervisor.runtime.release import resolve, with_descriptors


@pytest.fixture
def current(tmp_path: Path) -> Path:
    """A symlink to a release with a program and a venv-like symlink in it."""
    real = tmp_path / "releases" / "41"
    (real / "bin").mkdir(parents=True)
    (real / "bin" / "serve").write_text("#!/bin/sh\n")
    (real / "bin" / "serve").chmod(0o755)
    (real / "bin" / "python").symlink_to("/bin/sh")
    link = tmp_path / "current"
    link.symlink_to("releases/41")
    return link


def config(current: Path, *command: str, **app: object) -> Config:
    own = App(command=command, directory=str(current))
    return Config("chat", None, replace(own, **app), (Listen("ws", None),))  # type: ignore[arg-type]


def test_what_begins_with_the_directory_follows_it(current: Path) -> None:
    release = resolve(
        config(
            current,
            f"{current}/bin/serve",
            str(current),
            f"--root={current}",
            f"{current}-not",
            environment=(("ROOT", f"{current}/static"),),
        )
    )
    real = str(current.resolve())

    assert release.directory == real
    assert release.command == (f"{real}/bin/serve", real, f"--root={current}", f"{current}-not")
    assert dict(release.environment)["ROOT"] == f"{real}/static"


def test_a_symlink_inside_the_release_stays_one(current: Path) -> None:
    release = resolve(config(current, f"{current}/bin/python"))

    assert release.command[0] == f"{current.resolve()}/bin/python"


def test_a_relative_program_is_looked_up_in_the_release(current: Path) -> None:
    assert resolve(config(current, "bin/serve")).command[0] == f"{current.resolve()}/bin/serve"


def test_a_bare_name_is_looked_up_in_the_releases_own_path(current: Path) -> None:
    release = resolve(config(current, "serve", environment=(("PATH", f"{current}/bin"),)))

    assert release.command[0] == f"{current.resolve()}/bin/serve"


def test_the_environment_is_clean(current: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("LC_TIME", "C")
    found = dict(resolve(config(current, "bin/serve")).environment)

    assert "SECRET_OF_THE_DAEMON" not in found
    assert "NOTIFY_SOCKET" not in found
    assert found["LC_TIME"] == "C"


def test_environment_files_are_read_in_order_and_the_table_wins(
    current: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.env").write_text("# comment\nA=1\nB='two words'\n\n; more\nC=\"3\"\n")
    (tmp_path / "b.env").write_text("A=9\n")
    files = (str(tmp_path / "a.env"), str(tmp_path / "b.env"), f"-{tmp_path}/none.env")
    release = resolve(
        config(current, "bin/serve", environment_files=files, environment=(("C", "4"),))
    )
    found = dict(release.environment)

    assert (found["A"], found["B"], found["C"]) == ("9", "two words", "4")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("bin/none",), "bin/none: no such file"),
        (("bin",), "was not found in PATH"),
        (("./bin",), "is a directory"),
        (("bin/plain",), "is not executable; chmod"),
        (("no-such-program",), "was not found in PATH"),
    ],
)
def test_a_command_that_cannot_run_says_why(
    current: Path, command: tuple[str, ...], words: str
) -> None:
    (current / "bin" / "plain").write_text("x")

    with pytest.raises(ReleaseInvalid, match=words):
        resolve(config(current, *command))


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReleaseInvalid, match="gone: no such directory"):
        resolve(config(tmp_path / "gone", "true"))


def test_a_bad_line_of_an_environment_file_is_named(current: Path, tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=1\nnonsense\n")

    with pytest.raises(ReleaseInvalid, match="line 2: expected NAME=value"):
        resolve(config(current, "bin/serve", environment_files=(str(tmp_path / "a.env"),)))


def test_placeholders_become_descriptor_numbers() -> None:
    command = ("serve", "--fd={fd}", "fd://{fd:raw}", "{fdx}")

    assert with_descriptors(command, ["ws", "raw"]) == ("serve", "--fd=3", "fd://4", "{fdx}")
