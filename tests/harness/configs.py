"""Configuration files as tests need them: the smallest, and one with every key."""

from pathlib import Path

import pytest

from wssupervisor.config.model import Config, Overrides
from wssupervisor.config.schema import load_config
from wssupervisor.errors import ConfigInvalid

LISTEN = '[[listen]]\naddress = "127.0.0.1:8765"\n'
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
balance = "client"
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


ADDRESS = 'an address such as "0.0.0.0:8765", "[::]:8765" or "unix:/run/chat/chat.sock"'


def load(tmp_path: Path, text: str, overrides: Overrides | None = None) -> Config:
    path = tmp_path / "chat.toml"
    path.write_text(text)
    return load_config(str(path), overrides)


def problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, text)
    return [one.removeprefix(str(tmp_path / "chat.toml: ")) for one in caught.value.problems]
