"""docs/reference/control-socket.md: methods, results and errors are those of a daemon."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.load.waiting import HANG_SECONDS
from tests.harness.daemon import Daemon
from tests.harness.settings import Settings
from wssupervisor.control.protocol import LINE_BYTES
from wssupervisor.control.verbs import VERBS
from wssupervisor.errors import WssError

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/control-socket.md").read_text()
ASKED: dict[str, dict[str, Any]] = {
    "reload": {"timeout": "20s"},
    "drain": {"generation": 1, "within": "10min"},
    "scale": {"workers": 1},
    "leave": {"lead": "0s", "wait": False},
    "join": {},
    "history": {},
    "metrics": {},
    "stop": {"within": "5s"},
}
"""In this order. Other methods have pages of their own, or end the connection."""


def table(heading: str) -> Iterator[list[str]]:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def methods() -> dict[str, list[str]]:
    return {row[0].strip("`"): row for row in table("Methods")}


def ask(control: Path, number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The answer, after events."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(HANG_SECONDS)
        client.connect(str(control))
        request = {"id": number, "method": method, "params": params}
        client.sendall(json.dumps(request).encode() + b"\n")
        with client.makefile() as lines:
            for line in lines:
                answer: dict[str, Any] = json.loads(line)
                assert answer["id"] == number
                if "event" not in answer:
                    return answer
    raise AssertionError("no answer")


def test_every_method_is_on_the_page_with_its_right() -> None:
    assert {name: row[1] for name, row in methods().items()} == {
        name: row.right.value for name, row in VERBS.items() if row.right is not None
    }


def test_results_have_the_keys_of_the_page(settings: Settings) -> None:
    found, shown = {}, {}
    with Daemon(settings) as daemon:
        daemon.start()
        for number, (method, params) in enumerate(ASKED.items()):
            answer = ask(daemon.control, number, method, params)
            assert "result" in answer, answer
            found[method] = set(answer["result"])
            result = methods()[method][3].partition("; with `json`")[0]
            shown[method] = set(re.findall(r"`(\w+)`", result))

    assert found == shown


def test_every_error_is_on_the_page_with_its_exit_status() -> None:
    shown = {row[0].strip("`"): int(row[1]) for row in table("Errors")}

    kinds: list[type[WssError]] = [WssError, *below(WssError)]
    assert shown == {kind.code: kind.exit_status for kind in kinds}


def below(kind: type[WssError]) -> Iterator[type[WssError]]:
    for each in kind.__subclasses__():
        if each.__module__ == WssError.__module__:
            yield each
            yield from below(each)


def test_an_error_has_the_form_of_the_page(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        answer = ask(daemon.control, 7, "why", {"generation": 99})

    assert set(answer) == {"id", "error"}
    assert set(answer["error"]) == {"code", "message", "data"}
    assert answer["error"]["code"] == "operation-failed"


@pytest.mark.parametrize("fact", [f"at most {LINE_BYTES} bytes"])
def test_limits_are_those_of_the_page(fact: str) -> None:
    assert fact in PAGE
