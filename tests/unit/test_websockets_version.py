"""[ready] by = "websocket" is refused where the probe could not run, before a worker is blamed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
[app]
command = ["serve"]
[[listen]]
address = "127.0.0.1:8765"
[ready]
by = "websocket"
"""
LOADS = """
import json, sys
from wssupervisor.config.schema import load_config
from wssupervisor.errors import ConfigInvalid
try:
    print(json.dumps(load_config(sys.argv[1]).ready.by.value))
except ConfigInvalid as error:
    print(json.dumps(error.problems))
"""


def loaded(directory: Path, version: str | None) -> object:
    """What comes of it in a Python whose only package, if any, is websockets of that version."""
    config = directory / "chat.toml"
    config.write_text(CONFIG)
    if version is not None:
        package = directory / f"websockets-{version}.dist-info"
        package.mkdir()
        (package / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: websockets\nVersion: {version}\n"
        )
    done = subprocess.run(
        [sys.executable, "-S", "-c", LOADS, config],
        cwd=directory,
        env={"PYTHONPATH": f"{ROOT}:{directory}", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("version", "problem"), [(None, "which is not installed"), ("10.4", "but 10.4 is installed")]
)
def test_a_probe_that_cannot_run_is_a_mistake_of_the_file(
    tmp_path: Path, version: str | None, problem: str
) -> None:
    said = (
        f'{tmp_path}/chat.toml: [ready] by: found "websocket", expected "connect", "notify",'
        ' "delay" or "http": the WebSocket probe needs the Python package websockets 15 or newer,'
        f" {problem}. Install it with `pip install 'websockets>=15'`"
    )

    assert loaded(tmp_path, version) == [said]


@pytest.mark.parametrize("version", ["15.0", "17.1.2"])
def test_a_version_that_the_probe_can_use_is_no_mistake(tmp_path: Path, version: str) -> None:
    assert loaded(tmp_path, version) == "websocket"
