"""events and history of an instance that is not running come from its files."""

import json
import os
from pathlib import Path

import pytest

from tests.harness.daemon import Ctl, Daemon
from tests.harness.privilege import needs_root
from tests.harness.settings import Settings
from wssupervisor.commands.cli import main
from wssupervisor.control import paths


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Instead of /var/lib/wssupervisor, and nothing runs."""
    from wssupervisor.commands import recorded

    below = tmp_path / "lib"
    below.mkdir()
    monkeypatch.setattr(recorded, "STATE", below)
    monkeypatch.setattr(paths, "SYSTEM", tmp_path / "run")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("WSSUPERVISOR_CONTROL", raising=False)
    return below


def lived(settings: Settings, state: Path) -> None:
    """It started, was reloaded and stopped, as a service would."""
    state.mkdir()
    with Daemon(settings, variables={"STATE_DIRECTORY": str(state)}) as daemon:
        daemon.start()
        daemon.reload()
        assert daemon.stop() == 0


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> Ctl:
    capsys.readouterr()
    status = main(words)
    return Ctl(status, *capsys.readouterr())


def test_a_stopped_service_tells_what_happened(
    settings: Settings, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lived(settings, state / "chat")
    record = state / "chat/supervisor/events.jsonl"
    said = f"wssctl: instance 'chat' is not running; reading its record {record}\n"

    for which in ((), ("-i", "chat")):  # the only one, or by its name
        happened = asked(capsys, *which, "events")
        assert (happened.status, happened.err) == (0, said)
        assert "  started " in happened.out
        assert happened.out.splitlines()[-1].endswith("  stopped            status=0")
    documents = asked(capsys, "-i", "chat", "history", "--json")
    (reload,) = map(json.loads, documents.out.splitlines())
    assert (documents.status, reload["id"], reload["ok"]) == (0, "r1", True)
    assert "  r1 reload  generation 2 is active" in asked(capsys, "history").out
    assert asked(capsys, "history", "--since", "1ms").out == "no reload in the last 1ms\n"
    assert asked(capsys, "events", "--since", "yesterday").status == 2


def test_what_needs_a_daemon_or_another_instance_is_69(
    settings: Settings, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lived(settings, state / "chat")
    for words in (("events", "--follow"), ("status",), ("-i", "game", "history"), ("why",)):
        assert asked(capsys, *words).status == 69
    (state / "game/supervisor").mkdir(parents=True)
    (state / "game/supervisor/events.jsonl").touch()
    several = asked(capsys, "events")

    assert several.status == 69
    assert "There are records of chat, game: choose one with -i NAME" in several.err


def test_without_systemd_one_that_died_is_read_beside_its_socket(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        daemon.die()
        happened = daemon.ctl("events")

    assert happened.status == 0
    assert "  started " in happened.out
    assert f"reading its record {daemon.control}.events" in happened.err


@needs_root
def test_a_record_that_may_not_be_read_is_as_if_it_were_not_there(
    state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (state / "chat").mkdir(mode=0o700)
    (state / "chat/supervisor").mkdir()
    (state / "chat/supervisor/events.jsonl").touch()
    child = os.fork()
    if not child:
        os.setgid(65534)
        os.setuid(65534)
        os._exit(main(["events"]))

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 69
    assert "no instance is running" in capfd.readouterr().err
