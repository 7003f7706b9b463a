"""wssctl init: what it writes for a new instance, and when it writes nothing."""

import configparser
import getpass
import pwd
import re
import stat
import sys
from pathlib import Path

import pytest

from wssupervisor.commands import init_account
from wssupervisor.commands.cli import main
from wssupervisor.config.model import Overrides
from wssupervisor.config.schema import load_config
from wssupervisor.control import paths

USER = getpass.getuser()
COMMAND = "/srv/chat/current/bin/python -m chat --say 'good day'"


def init(root: Path, *arguments: str, name: str = "chat", listen: str = "0.0.0.0:8765") -> int:
    own = ["--command", COMMAND, "--listen", listen, "--user", USER, "--root", str(root)]
    return main(["init", name, *own, *arguments])


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def drop_in(root: Path, kind: str) -> str:
    (found,) = (root / f"etc/systemd/system/wssupervisor@chat.{kind}.d").iterdir()
    return found.read_text()


def test_it_writes_a_configuration_that_the_daemon_takes(tmp_path: Path) -> None:
    status = init(tmp_path, "--directory", "/srv/chat/current", "--workers", "3")
    config = load_config(str(tmp_path / "etc/wssupervisor/chat.toml"), Overrides())

    assert status == 0
    assert config.name == "chat"
    assert config.app.command[-1] == "good day"
    assert (config.app.directory, config.app.workers) == ("/srv/chat/current", 3)
    assert [(one.name, one.address) for one in config.listeners] == [("ws", None)]


@pytest.mark.parametrize(("workers", "slots"), [("1", 16), ("2", 22), ("3", 32), ("16", 162)])
def test_the_socket_has_the_slots_that_the_workers_need_and_at_least_sixteen(
    tmp_path: Path, workers: str, slots: int
) -> None:
    init(tmp_path, "--workers", workers)

    assert drop_in(tmp_path, "socket").count("ListenStream=0.0.0.0:8765\n") == slots


def test_the_service_runs_as_the_user(tmp_path: Path) -> None:
    init(tmp_path)
    found = configparser.ConfigParser()
    found.read_string(drop_in(tmp_path, "service"))

    assert found["Service"]["User"] == USER


def test_an_instance_has_a_user_of_its_own_unless_one_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--command", COMMAND, "--listen", "0.0.0.0:8765", "--root", str(tmp_path)]
    assert main(["init", "chat", *own]) == 0
    out = capsys.readouterr().out

    assert "User=wss-chat\n" in drop_in(tmp_path, "service")
    made = (tmp_path / "etc/sysusers.d/wssupervisor-chat.conf").read_text()
    assert "u wss-chat - " in made
    assert "useradd --system --shell /usr/sbin/nologin wss-chat" in out
    odd = [init_account.own_user(one) for one in ("a.b", "a-b", "x" * 64, "x" * 63)]
    assert len(set(odd)) == 4
    assert all(re.fullmatch(r"wss-[A-Za-z0-9_-]{1,27}", one) for one in odd)


def test_what_it_means_to_share_a_user_is_the_first_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(tmp_path)
    assert "shared" not in capsys.readouterr().out
    init(tmp_path, name="game")
    first = capsys.readouterr().out.splitlines()[0]

    assert first.startswith(f"shared: user {USER} also runs chat: each of these instances can read")


def test_the_configuration_is_for_root_and_the_instances_group(tmp_path: Path) -> None:
    init(tmp_path)
    path = tmp_path / "etc/wssupervisor/chat.toml"

    assert stat.filemode(path.stat().st_mode) == "-rw-r-----"
    assert path.stat().st_gid == pwd.getpwnam(USER).pw_gid


@pytest.mark.parametrize(
    ("directory", "command", "hidden"),
    [
        ("/srv/chat/current", "bin/serve", True),
        ("/home/alice/chat", "bin/serve", False),
        ("/srv/chat/current", "/home/alice/venv/bin/python -m chat", False),
        ("{root}/current", "bin/serve", False),
    ],
)
def test_homes_are_hidden_unless_the_instance_needs_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    directory: str,
    command: str,
    hidden: bool,
) -> None:
    monkeypatch.setattr(init_account, "HOMES", ("/home",))  # the tests may run in /root
    monkeypatch.setattr(sys, "prefix", "/usr")
    monkeypatch.setattr(init_account, "__file__", "/usr/lib/init_account.py")
    (tmp_path / "current").symlink_to("/home/alice/chat")
    own = ["--command", command, "--listen", "0.0.0.0:8765", "--root", str(tmp_path)]
    main(["init", "chat", *own, "--directory", directory.format(root=tmp_path)])

    assert ("ProtectHome=tmpfs\n" in drop_in(tmp_path, "service")) is hidden


def test_it_says_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "SYSTEMD", tmp_path)  # there is one
    init(tmp_path)

    assert (
        "systemctl enable --now wssupervisor@chat.socket wssupervisor@chat.service"
        in capsys.readouterr().out
    )


def test_a_dry_run_shows_all_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = init(tmp_path, "--dry-run")
    out = capsys.readouterr().out

    assert status == 0
    assert files(tmp_path) == []
    assert "ListenStream=0.0.0.0:8765" in out
    assert "would write" in out


def test_what_is_there_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "etc/wssupervisor/chat.toml"
    path.parent.mkdir(parents=True)
    path.write_text("mine")

    assert init(tmp_path) == 1
    assert "already exists and is not overwritten" in capsys.readouterr().err
    assert files(tmp_path) == ["etc/wssupervisor/chat.toml"]
    assert path.read_text() == "mine"


def test_an_af_unix_listener_is_one_line_and_wants_a_readiness_and_a_drain_signal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path, listen="unix:/run/chat.sock") == 2
    assert "--ready notify" in capsys.readouterr().err
    assert init(tmp_path, "--ready", "delay", listen="unix:/run/chat.sock") == 2
    assert "--drain-signal NAME" in capsys.readouterr().err
    assert files(tmp_path) == []

    own = ("--ready", "notify", "--drain-signal", "SIGUSR1")
    assert init(tmp_path, *own, listen="unix:/run/chat.sock") == 0

    config = load_config(str(tmp_path / "etc/wssupervisor/chat.toml"), Overrides())
    assert config.drain.signal == "SIGUSR1"
    assert "ListenStream=/run/chat.sock\n" in drop_in(tmp_path, "socket")
    assert "ReusePort=no" in drop_in(tmp_path, "socket")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("--workers", "many"), 78, '[app] workers: found "many"'),
        (("--ready", "soon"), 78, '[ready] by: found "soon"'),
        (("--user", "no-such-user-1"), 1, "useradd --system"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    says: str,
) -> None:
    assert init(tmp_path, *arguments) == status
    assert says in capsys.readouterr().err
    assert files(tmp_path) == []


def test_a_wrong_address_or_name_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path, listen="chat.example.org:80") == 2
    assert "host names other than localhost are not resolved" in capsys.readouterr().err
    assert init(tmp_path, name="a/b") == 78
    assert files(tmp_path) == []
