"""A release is what was there at one moment, and stays that."""

from collections import UserDict
from collections.abc import ItemsView
from dataclasses import replace
from pathlib import Path

import pytest

from wssupervisor.config.model import App, Config, Listen
from wssupervisor.errors import ReleaseInvalid
from wssupervisor.runtime.releases.release import not_set, resolve, with_descriptors


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
    assert release.command == (f"{real}/bin/serve", real, f"--root={real}", f"{current}-not")
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


def test_what_systemd_made_for_the_service_reaches_workers(
    current: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY"]
    for name in [*names, "TZ", "LC_ALL"]:
        monkeypatch.setenv(name, f"/{name}")
    found = dict(resolve(config(current, "bin/serve")).environment)

    assert {name: f"/{name}" for name in [*names, "TZ", "LC_ALL"]} == {
        name: value for name, value in found.items() if value == f"/{name}"
    }


OWN = {"PATH": "/bin", "A": "own", "B": "own", "EMPTY": ""}


def test_named_variables_are_passed_on_and_win_over_the_files(
    current: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.env").write_text("A=file\nC=file\n")
    app = config(
        current,
        "bin/serve",
        environment_files=(str(tmp_path / "a.env"),),
        pass_environment=("A", "-NONE", "C", "EMPTY"),
        environment=(("D", "table"),),
    )

    assert dict(resolve(app, OWN).environment) == {
        "PATH": "/bin",
        "A": "own",
        "C": "file",
        "D": "table",
        "EMPTY": "",
    }


def test_a_named_variable_that_is_set_nowhere_is_refused(current: Path) -> None:
    app = config(current, "bin/serve", pass_environment=("A", "DATABASE_URL"))

    with pytest.raises(
        ReleaseInvalid, match=r'DATABASE_URL is set neither in .* or write "-DATABASE_URL"'
    ):
        resolve(app, OWN)
    assert ["DATABASE_URL"] == not_set(app, OWN)


def test_the_directory_is_pinned_in_what_is_passed_on(current: Path) -> None:
    app = config(current, "bin/serve", pass_environment=("LIB",))
    release = resolve(app, {"LIB": f"{current}/lib:/usr/lib:{current}/vendor"})
    real = current.resolve()

    assert dict(release.environment)["LIB"] == f"{real}/lib:/usr/lib:{real}/vendor"


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
        (("bin/plain",), "is not executable. Run `chmod"),
        (("no-such-program",), "was not found in PATH"),
    ],
)
def test_a_command_that_cannot_run_says_why(
    current: Path, command: tuple[str, ...], words: str
) -> None:
    (current / "bin" / "plain").write_text("x")

    with pytest.raises(ReleaseInvalid, match=words):
        resolve(config(current, *command))


def test_nothing_is_pinned_to_a_relative_directory(
    current: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(current.parent)
    found = resolve(replace_app(config(current, "bin/serve", "current/app.py"), "current"))
    real = str(current.resolve())

    assert (found.directory, found.command) == (real, (f"{real}/bin/serve", "current/app.py"))


def replace_app(given: Config, directory: str) -> Config:
    return replace(given, app=replace(given.app, directory=directory))


def test_a_slash_at_the_end_of_the_directory_does_not_matter(current: Path) -> None:
    release = resolve(replace_app(config(current, f"{current}/bin/serve"), f"{current}/"))

    assert release.command == (f"{current.resolve()}/bin/serve",)


def test_a_release_stays_what_it_was_when_the_symlink_is_switched(current: Path) -> None:
    before = resolve(config(current, f"{current}/bin/serve"))
    current.unlink()
    current.symlink_to("releases/42")

    assert before.command == (f"{current.parent}/releases/41/bin/serve",)
    with pytest.raises(ReleaseInvalid, match=r"no such directory \(it leads to .*/releases/42\)"):
        resolve(config(current, f"{current}/bin/serve"))


def test_a_relative_path_entry_means_one_in_the_release(current: Path) -> None:
    for path in ("bin", "/none::bin"):
        release = resolve(config(current, "serve", environment=(("PATH", path),)))

        assert release.command[0] == f"{current.resolve()}/bin/serve"


def test_a_program_found_through_path_is_pinned_too(current: Path) -> None:
    path = (("PATH", f"/nowhere:{current}/bin"),)

    assert resolve(config(current, "serve", environment=path)).command == (
        f"{current.resolve()}/bin/serve",
    )


def test_what_is_found_in_path_but_not_executable_says_so(current: Path) -> None:
    (current / "bin" / "plain").write_text("x")

    with pytest.raises(ReleaseInvalid, match=r"/bin/plain is not executable. Run `chmod \+x"):
        resolve(config(current, "plain", environment=(("PATH", f"/bin:{current}/bin"),)))


def test_an_environment_file_in_the_release_is_the_releases_own(current: Path) -> None:
    (current / ".env").write_text("A=41\n")
    release = resolve(config(current, "bin/serve", environment_files=(f"{current}/.env",)))

    assert dict(release.environment)["A"] == "41"


def test_a_release_is_of_one_piece_though_the_symlink_is_switched_meanwhile(
    current: Path, tmp_path: Path
) -> None:
    (tmp_path / "releases" / "42").mkdir()
    for number in ("41", "42"):
        (tmp_path / "releases" / number / ".env").write_text(f"A={number}\n")

    class Switches(UserDict[str, str]):
        """The daemon's environment; it is read when the directory is known."""

        def items(self) -> ItemsView[str, str]:
            current.unlink()
            current.symlink_to("releases/42")
            return super().items()

    own = Switches({"PATH": "/usr/bin"})
    files = (f"{current}/.env",)
    release = resolve(config(current, f"{current}/bin/serve", environment_files=files), own)

    assert release.directory == str(tmp_path / "releases" / "41")
    assert release.command == (f"{release.directory}/bin/serve",)
    assert dict(release.environment)["A"] == "41"


def test_a_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ReleaseInvalid, match="file: not a directory"):
        resolve(config(tmp_path / "file", "true"))


@pytest.mark.parametrize("name", ["x" * 300, "loop/x"])
def test_what_the_system_does_not_even_look_up_is_a_reason_and_no_crash(
    current: Path, name: str
) -> None:
    (current / "loop").symlink_to("loop")
    files = (str(current / name),)

    for bad in (
        config(current / name, "true"),
        config(current, f"./{name}"),
        config(current, "true", environment_files=files),
    ):
        with pytest.raises(ReleaseInvalid, match=r"too long|levels of symbolic|no such"):
            resolve(bad)
    with pytest.raises(ReleaseInvalid, match="was not found in PATH"):
        resolve(config(current, name.replace("/", "-")))


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"A=\0", "line 1: a NUL"), (b"A=\xff", "not UTF-8 at byte 2"), (b"A='1", "never closed")],
)
def test_an_environment_file_that_cannot_be_used_says_why(
    current: Path, tmp_path: Path, data: bytes, words: str
) -> None:
    (tmp_path / "a.env").write_bytes(data)

    with pytest.raises(ReleaseInvalid, match=f"environment_files: {tmp_path}/a.env.*{words}"):
        resolve(config(current, "bin/serve", environment_files=(f"-{tmp_path}/a.env",)))


def test_a_missing_environment_file_says_how_to_allow_that(current: Path) -> None:
    with pytest.raises(ReleaseInvalid, match=r'/none\.env: no such file. Write "-/none\.env" if'):
        resolve(config(current, "bin/serve", environment_files=("/none.env",)))


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
