"""The configuration file: what it may say, and what is said about its mistakes."""

import math
import socket
from pathlib import Path

import pytest

from wssupervisor.config import Config, Mode, Overrides, parse_address, restart_needed
from wssupervisor.config_file import load_config
from wssupervisor.errors import ConfigInvalid
from wssupervisor.fleet.model import ReadyBy

SMALL = """
[app]
command = ["serve"]
[[listen]]
address = "127.0.0.1:8765"
"""

WHOLE = """
[app]
command = ["/srv/chat/current/bin/python", "-m", "chat", "{fd:ws}"]
directory = "/srv/chat/current"
workers = 3
environment_files = ["/etc/chat.env"]
[app.environment]
CHAT_REGION = "eu"
[[listen]]
name = "ws"
address = "0.0.0.0:8765"
mode = "steered"
backlog = 100
accept_stall = "500ms"
[[listen]]
name = "raw"
address = "[::]:8766"
[ready]
by = "notify"
timeout = "10s"
stable = "0s"
[drain]
keep = "5s"
timeout = "2h"
signal = "SIGUSR1"
close_over = "30s"
max_draining = 3
when_full = "refuse"
[stop]
timeout = "20s"
close_over = "5s"
signal = "SIGINT"
kill_after = "2s"
[restart]
backoff = "1s"
backoff_max = "10s"
[watchdog]
interval = "0s"
[control]
group_may_operate = false
"""


def load(tmp_path: Path, text: str, overrides: Overrides | None = None) -> Config:
    path = tmp_path / "chat.toml"
    path.write_text(text)
    return load_config(str(path), overrides)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, text)
    return [one.removeprefix(str(tmp_path / "chat.toml: ")) for one in caught.value.problems]


def test_a_small_file_gets_the_documented_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, SMALL)
    policy = config.policy()

    assert config.name == "chat"
    assert config.listeners[0].name == "ws"
    assert config.listeners[0].mode is Mode.AUTO
    assert config.listeners[0].backlog == 4096
    assert (policy.workers, policy.ready_by, policy.ready_timeout) == (1, ReadyBy.CONNECT, 30.0)
    assert (policy.stable, policy.keep, policy.drain_timeout) == (1.0, 30.0, math.inf)
    assert (policy.stop_timeout, policy.kill_after, policy.max_draining) == (30.0, 10.0, 8)
    assert (policy.backoff, policy.backoff_max, policy.accept_stall) == (0.5, 30.0, 2.0)


def test_every_key_is_read(tmp_path: Path) -> None:
    config = load(tmp_path, WHOLE)
    policy = config.policy()

    assert config.app.environment == (("CHAT_REGION", "eu"),)
    assert config.app.environment_files == ("/etc/chat.env",)
    assert [str(one.address) for one in config.listeners] == ["0.0.0.0:8765", "[::]:8766"]
    assert (policy.workers, policy.ready_by, policy.ready_timeout) == (3, ReadyBy.NOTIFY, 10.0)
    assert (policy.stable, policy.keep, policy.drain_timeout) == (0.0, 5.0, 7200.0)
    assert (policy.drain_signal, policy.max_draining) == ("SIGUSR1", 3)
    assert (policy.stop_timeout, policy.stop_signal, policy.kill_after) == (20.0, "SIGINT", 2.0)
    assert (policy.backoff, policy.backoff_max, policy.accept_stall) == (1.0, 10.0, 0.5)


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = SMALL + '[ready]\ntimeout = 30\nby = "luck"\n[drain]\nkep = "3s"\n[spare]\nx = 1\n'

    found = problems(tmp_path, text)

    assert len(found) == 4
    assert '[ready] timeout: found 30, expected a duration such as "500ms"' in "\n".join(found)
    assert '[ready] by: found \'luck\', expected "connect", "notify" or "delay"' in found
    assert any("[drain] kep: no such key, did you mean keep?" in one for one in found)
    assert any("[spare]: no such table" in one for one in found)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('[app]\ncommand = "serve"', "[app] command: found 'serve', expected a list of strings"),
        ("[app]\ncommand = []", "[app] command: found [], expected a program"),
        ('[app]\ncommand = ["a"]\nworkers = 0', "from 1 to 256"),
        ('[app]\ncommand = ["a"]\nworkers = true', "from 1 to 256"),
        ('[app]\ncommand = ["a"]\nworkers = "many"', 'or "auto"'),
        ('[app]\ncommand = ["a"]\n[app.environment]\nN = 1', "a table of strings"),
        ('[app]\ncommand = ["a", "{fd:http}"]', "{fd:http}"),
        ('[ready]\ntimeout = "infinity"', "finite"),
        ('[ready]\ntimeout = "0s"', "above zero"),
        ('[ready]\nby = "websocket"', "comes in a later version"),
        ('[ready]\npath = "/healthz"', "comes in a later version"),
        ('[drain]\nsignal = "SIGNOPE"', '"none" or a signal name'),
        ('[drain]\nsignal = "SIGKILL"', '"none" or a signal name'),
        ("[drain]\nmax_draining = 0", "from 1 to 100"),
        ('[drain]\nwhen_full = "hurry-oldest"', "comes in a later version"),
        ('[drain]\nclose_over = "3s"', "comes in a later version"),
        ('[watchdog]\ninterval = "3s"', "comes in a later version"),
        ("[control]\ngroup_may_operate = true", "comes in a later version"),
        ("[limits]\nx = 1", "comes in a later version"),
        ("listen = 3", "[[listen]]"),
        ("app = 3", "[app]"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(tmp_path: Path, lines: str, words: str) -> None:
    app = "" if "app" in lines else '[app]\ncommand = ["a"]\n'
    listen = "" if "listen" in lines else '\n[[listen]]\naddress = "127.0.0.1:1"\n'
    text = f"{lines}\n{listen}" if "app" in lines or lines[0] != "[" else app + lines + listen

    assert words in "\n".join(problems(tmp_path, text))


@pytest.mark.parametrize(
    "address",
    ["localhost:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", "::1:80", "[127.0.0.1]:80", ""],
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    text = f'[app]\ncommand = ["a"]\n[[listen]]\naddress = "{address}"\n'

    assert "[[listen]] address" in "\n".join(problems(tmp_path, text))


def test_a_unix_address_is_refused_for_now(tmp_path: Path) -> None:
    text = '[app]\ncommand = ["a"]\n[[listen]]\naddress = "unix:/run/x"\n'

    assert "later version" in "\n".join(problems(tmp_path, text))


def test_two_listeners_need_two_names(tmp_path: Path) -> None:
    text = SMALL + '[[listen]]\naddress = "127.0.0.1:8766"\n'

    assert "'ws' is used twice" in "\n".join(problems(tmp_path, text))


def test_a_plain_fd_needs_a_single_listener(tmp_path: Path) -> None:
    text = WHOLE.replace("{fd:ws}", "{fd}")

    assert "{fd:raw}, {fd:ws}" in "\n".join(problems(tmp_path, text))


def test_a_missing_file_says_what_else_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="no such file; give --config"):
        load_config(str(tmp_path / "none.toml"))


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    assert "line 1" in "\n".join(problems(tmp_path, "[app\n"))


def test_the_command_line_alone_is_enough() -> None:
    overrides = Overrides(
        listen=("127.0.0.1:1", "raw=[::1]:2"), workers="2", command=("serve", "--fd", "3")
    )
    config = load_config(None, overrides)

    assert config.name == "default"
    assert config.app.command == ("serve", "--fd", "3")
    assert config.app.workers == 2
    assert [one.name for one in config.listeners] == ["ws", "raw"]


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    overrides = Overrides(name="other", workers="4", listen=("127.0.0.1:9",))
    config = load(tmp_path, WHOLE.replace("{fd:ws}", "{fd}"), overrides)

    assert (config.name, config.app.workers) == ("other", 4)
    assert [str(one.address) for one in config.listeners] == ["127.0.0.1:9"]


def test_addresses_know_their_family() -> None:
    assert parse_address("0.0.0.0:80").family == socket.AF_INET
    assert parse_address("[::]:80").family == socket.AF_INET6


def test_what_needs_a_restart_is_named(tmp_path: Path) -> None:
    old = load(tmp_path, SMALL)

    assert restart_needed(old, load(tmp_path, SMALL + '[drain]\nkeep = "1s"\n')) == []
    assert restart_needed(old, load(tmp_path, SMALL.replace("8765", "8766"))) == ["[[listen]]"]
