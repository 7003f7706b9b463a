"""The command that stops an instance is that of the unit it runs in."""

from pathlib import Path

import pytest

from wssupervisor.runtime.systemd import stop_command


def test_outside_a_service_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    assert stop_command("chat") is None


def test_without_a_group_of_that_kind_it_is_the_packages_unit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if Path("/proc/self/cgroup").read_text().rstrip().endswith(".service"):
        pytest.skip("these tests run in a service")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("INVOCATION_ID", "of a service")

    assert stop_command("chat") == (
        "systemctl stop wssupervisor@chat.socket wssupervisor@chat.service"
    )
