"""wssctl and wssupervisor as programs: what they say without any daemon."""

import json
from pathlib import Path

import pytest

from tests.harness.programs import run, wssctl

VERBS = [
    "status",
    "reload",
    "rollback",
    "drain",
    "scale",
    "stop",
    "why",
    "events",
    "check",
    "init",
    "completion",
]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself_with_an_example(tmp_path: Path, verb: str) -> None:
    status, out, _ = wssctl(verb, "--help", home=tmp_path)

    assert status == 0
    assert "examples:" in out


def test_the_help_lists_verbs_and_exit_statuses(tmp_path: Path) -> None:
    status, out, _ = wssctl("--help", home=tmp_path)

    assert status == 0
    assert [verb for verb in VERBS if verb not in out] == []
    assert "69 no such instance" in out


def test_an_instance_that_does_not_run_is_69(tmp_path: Path) -> None:
    status, _, err = wssctl("-i", "no-such-instance", "status", home=tmp_path)

    assert status == 69
    assert "no instance 'no-such-instance' is running" in err


def test_a_socket_that_is_not_there_is_69(tmp_path: Path) -> None:
    control = str(tmp_path / "none.sock")
    status, _, err = wssctl("reload", home=tmp_path, WSSUPERVISOR_CONTROL=control)

    assert status == 69
    assert f"no daemon answers at {control}" in err


def test_a_wrong_option_is_2(tmp_path: Path) -> None:
    assert wssctl("reload", "--soon", home=tmp_path)[0] == 2
    assert run("wssupervisor", "--soon", home=tmp_path)[0] == 2


def test_the_daemon_without_anything_to_run_is_2_and_says_what_to_give(tmp_path: Path) -> None:
    status, _, err = run("wssupervisor", home=tmp_path)

    assert status == 2
    assert "--config FILE, or --listen ADDRESS -- COMMAND" in err


def test_check_tells_what_would_run(tmp_path: Path) -> None:
    release = tmp_path / "releases" / "1"
    release.mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/1")
    config = tmp_path / "chat.toml"
    config.write_text(
        f'[app]\ncommand = ["sh", "-c", "true"]\ndirectory = "{tmp_path}/current"\n'
        '[[listen]]\naddress = "127.0.0.1:1"\n'
    )
    status, out, err = wssctl("check", str(config), "--json", home=tmp_path)
    found = json.loads(out)

    assert (status, err) == (0, "")
    assert found["valid"] is True
    assert found["name"] == "chat"
    assert found["directory"] == str(release.resolve())
    assert found["command"][0].endswith("/sh")
    assert found["warnings"] == []


def test_check_warns_of_a_release_that_is_pinned_in_name_only(tmp_path: Path) -> None:
    config = tmp_path / "chat.toml"
    config.write_text(
        f'[app]\ncommand = ["true"]\ndirectory = "{tmp_path}"\n'
        '[[listen]]\naddress = "127.0.0.1:1"\n'
    )
    status, _, err = wssctl("check", str(config), home=tmp_path)

    assert status == 0
    assert "is not a symlink" in err


def test_check_tells_every_mistake_and_exits_with_78(tmp_path: Path) -> None:
    config = tmp_path / "chat.toml"
    config.write_text('[app]\ncommand = "serve"\nwrokers = 1\n[[listen]]\naddress = "here"\n')
    status, out, err = wssctl("check", str(config), home=tmp_path)

    assert (status, out) == (78, "")
    assert len(err.splitlines()) == 3


def test_the_daemon_refuses_a_bad_configuration_with_78(tmp_path: Path) -> None:
    config = tmp_path / "chat.toml"
    config.write_text("[app]\n")
    status, _, err = run("wssupervisor", "--config", str(config), home=tmp_path)

    assert status == 78
    assert "[app] command" in err
