"""The unit files: systemd takes them, and how much they expose."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "units"
EXPOSURE_MAX = 1.6
SECONDS = 60
NEWER = {
    254: re.compile(r"Unknown key( name)? '(RestartSteps|RestartMaxDelaySec)'"),
    257: re.compile(r"Failed to parse .*: disconnected$"),
}
"""What systemd ignores before that version, and says so."""


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("there is no systemd-analyze: apt-get install systemd")
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units of instance chat, with programs that exist and an address."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/usr/bin/wssupervisor", "/bin/true")
        text = text.replace("/usr/bin/wssctl", "/bin/true").replace(
            "User=wssupervisor\n", "User=daemon\n"
        )
        if unit.suffix == ".socket":
            text = text.replace("[Socket]\n", "[Socket]\n" + 3 * "ListenStream=127.0.0.1:8765\n")
        (tmp_path / unit.name.replace("@", "@chat")).write_text(text)
    return tmp_path


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def version(analyze: str) -> int:
    return int(run(analyze, "--version").stdout.split()[1])


def test_systemd_takes_both_units(analyze: str, installed: Path) -> None:
    done = run(analyze, "verify", "--man=no", *sorted(installed.iterdir()))
    said = [
        line
        for line in done.stderr.splitlines()
        if "wssupervisor@" in line
        and not any(
            newer.search(line) for since, newer in NEWER.items() if version(analyze) < since
        )
    ]

    assert (done.returncode, said) == (0, [])


def test_the_service_exposes_little(analyze: str, installed: Path) -> None:
    done = run(
        analyze, "security", "--offline=true", "--no-pager", installed / "wssupervisor@chat.service"
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)

    assert found is not None, done.stderr
    assert float(found[1]) <= EXPOSURE_MAX


def test_what_a_held_socket_and_a_reload_with_a_verdict_need_is_there() -> None:
    """Each of these was measured to be needed; without it connections or verdicts are lost."""
    service = (UNITS / "wssupervisor@.service").read_text().splitlines()
    socket = (UNITS / "wssupervisor@.socket").read_text().splitlines()
    needed = {
        "Type=notify",
        "StartLimitIntervalSec=0",
        "NonBlocking=yes",
        "KillMode=process",
        "OOMPolicy=continue",
        "RuntimeDirectory=wssupervisor/%i",
    }

    assert needed <= set(service)
    assert {"ReusePort=yes", "TriggerLimitIntervalSec=0"} <= set(socket)
    assert not any(line.startswith("ListenStream=") for line in socket)


def test_a_reloads_own_limit_ends_before_systemds() -> None:
    text = (UNITS / "wssupervisor@.service").read_text()
    minutes = re.search(r"^ExecReload=.* reload --timeout (\d+)min$", text, re.MULTILINE)
    seconds = re.search(r"^TimeoutStartSec=(\d+)$", text, re.MULTILINE)

    assert minutes is not None
    assert seconds is not None
    assert int(minutes[1]) * 60 + 20 < int(seconds[1])
