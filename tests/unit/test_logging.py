"""What a stumble looks like in the log: where it was, and nothing of what was in its variables."""

import json
import subprocess
import sys

import pytest

from wssupervisor.logging import FORMATS

STUMBLES = """
import sys, structlog
from wssupervisor import logging
logging.journal_send = lambda message, **fields: print(message)
logging.configure(sys.argv[1], "info", "chat")

def deploy(token):
    raise RuntimeError("no such thing")

try:
    deploy("hunter2")
except RuntimeError:
    structlog.get_logger().exception("reload stumbled", reload="r1")
"""


@pytest.mark.parametrize("form", [one for one in FORMATS if one != "auto"])
def test_an_exception_is_told_with_its_place_and_without_its_values(form: str) -> None:
    command = [sys.executable, "-c", STUMBLES, form]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text = json.loads(done.stdout)["exception"] if form == "json" else done.stdout

    assert "reload stumbled" in done.stdout
    assert "Traceback (most recent call last)" in text
    assert "in deploy" in text
    assert "RuntimeError: no such thing" in text
    assert "hunter2" not in text.replace('deploy("hunter2")', "")
