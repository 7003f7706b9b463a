"""check: whether a configuration is valid, and what it would run"""

import argparse
import ipaddress
import os
import shlex
import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from wssupervisor.commands import socket_unit
from wssupervisor.errors import ConfigInvalid, ReleaseInvalid
from wssupervisor.harmless import harmless
from wssupervisor.plural import count

if TYPE_CHECKING:
    from wssupervisor.config.model import Config

EXAMPLES = """\
Reports all mistakes in the file at once, and exits with 78 if there are any.

examples:
  wssctl check /etc/wssupervisor/chat.toml
"""


class FoundListener(TypedDict):
    name: str
    address: str | None
    balance: str | None


class Found(TypedDict):
    """What `check --json` prints of a valid configuration."""

    valid: bool
    name: str
    command: list[str]
    directory: str
    workers: int
    slots_wanted: int
    descriptors_wanted: int
    listeners: list[FoundListener]
    http: str | None
    agent: str | None
    warnings: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="path of the configuration (TOML)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(given: argparse.Namespace) -> int:
    return check(given.file, json=given.json)


def check(path: str, *, json: bool) -> int:
    """Print what would run, or all mistakes; returns the exit status."""
    # Not needed for --help and completion.
    from wssupervisor import start_directory  # noqa: PLC0415
    from wssupervisor.config.model import Overrides  # noqa: PLC0415
    from wssupervisor.config.schema import load_config  # noqa: PLC0415
    from wssupervisor.runtime.releases.release import not_set, resolve, with_descriptors  # noqa: PLC0415
    from wssupervisor.runtime.releases.unpinned import unpinned  # noqa: PLC0415

    if not Path(path).exists():
        problem = (
            f"{path}: no such file. Write one with: wssctl init NAME --listen ADDRESS --command"
            " WORDS (or see wssupervisor.toml(5))"
        )
        return _invalid([problem], json=json)
    try:
        config = load_config(path, Overrides(start=start_directory.found()))
        missing = not_set(config, os.environ)
        # The daemon's environment differs from this shell's.
        release = resolve(config, {**os.environ, **dict.fromkeys(missing, "")})
    except ConfigInvalid as error:
        return _invalid(error.problems, json=json)
    except ReleaseInvalid as error:
        return _invalid([f"{path}: {error}"], json=json)
    names = [one.name for one in config.listeners]
    found = _found(config, with_descriptors(release.command, names), release.directory)
    found["warnings"] += [*_of_variables(config, missing), *unpinned(release)]
    found["warnings"] += socket_unit.warnings(config, path)
    if json:
        print(dumps(found))
    else:
        _show(path, found)
    return 0


def _invalid(problems: Sequence[str], *, json: bool) -> int:
    if json:
        print(dumps({"valid": False, "problems": list(problems)}))
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
    return ConfigInvalid.exit_status


def _found(config: "Config", command: Sequence[str], directory: str) -> Found:
    return {
        "valid": True,
        "name": config.name,
        "command": list(command),
        "directory": directory,
        "workers": config.app.workers,
        "slots_wanted": config.slots_wanted(),
        "descriptors_wanted": config.descriptors_wanted(),
        "listeners": [
            {
                "name": one.name,
                "address": None if one.address is None else str(one.address),
                "balance": None if one.why_shared else one.balance.value,
            }
            for one in config.listeners
        ],
        "http": None if config.http.address is None else str(config.http.address),
        "agent": None if config.http.agent is None else str(config.http.agent),
        "warnings": [
            *_of_directory(config.app.directory),
            *_of_shared_mode(config),
            *_of_balance(config),
        ],
    }


def _show(path: str, found: Found) -> None:
    _print(f"{path}: valid; instance {found['name']!r} would run")
    _print(f"  {shlex.join(found['command'])}")
    _print(f"  in {found['directory']}, {count(found['workers'], 'worker')}")
    for listener in found["listeners"]:
        by_client = ", by client address" if listener["balance"] == "client" else ""
        address = listener["address"] or "address from systemd"
        _print(f"  listener {listener['name']}: {address}{by_client}")
    _print(
        f"  needs {count(found['slots_wanted'], 'slot')} for each listener, and"
        f" {found['descriptors_wanted']} open files (LimitNOFILE=)"
    )
    if found["http"] is not None:
        _print(f"  http: {found['http']}")
    if found["agent"] is not None:
        _print(f"  agent: {found['agent']}")
    for warning in found["warnings"]:
        print(f"warning: {harmless(warning, kept='')}", file=sys.stderr)


def _print(text: str) -> None:
    """Print one line, without control characters."""
    print(harmless(text, kept=""))


def _of_variables(config: "Config", missing: Sequence[str]) -> list[str]:
    if not missing:
        return []
    names, plural = ", ".join(missing), len(missing) > 1
    text = (
        f"[app] pass_environment: {names} {'are' if plural else 'is'} not set in this shell. The"
        f" daemon of {config.name!r} must be started with {'them' if plural else 'it'}"
    )
    return [text]


def _of_shared_mode(config: "Config") -> list[str]:
    if config.drain.signal is not None:
        return []
    return [
        f"listener {one.name!r} is in shared mode ({one.why_shared}) and [drain] signal is none:"
        " old workers are never asked to stop accepting, so every reload will be refused. Set"
        " [drain] signal to a signal at which the server closes its listener and keeps its"
        " connections, unless the server uses the library wssupervisor.worker"
        for one in config.listeners
        if one.why_shared is not None
    ]


def _of_balance(config: "Config") -> list[str]:
    """Behind a reverse proxy on a loopback address all clients have the same address."""
    from wssupervisor.config.model import Address, Balance  # noqa: PLC0415

    return [
        f'listener {one.name!r} has balance = "client" on {one.address}: a reverse proxy connects'
        " from one address for all its clients, so one worker gets all of them. Let the proxy use"
        " several source addresses (docs/guides/sticky-clients.md)"
        for one in config.listeners
        if one.balance is Balance.CLIENT
        and config.app.workers > 1
        and isinstance(one.address, Address)
        and ipaddress.ip_address(one.address.host).is_loopback
    ]


def _of_directory(directory: str) -> list[str]:
    # A symlink anywhere in the path is enough: /srv/current/chat can be switched as a whole.
    if os.path.realpath(directory) != os.path.abspath(directory):  # noqa: PTH100
        return []
    text = (
        f"[app] directory {directory} is not a symlink: a restarted worker runs whatever is there"
        " at that time, not the release that the reload accepted. Install each release in its own"
        " directory, and point a symlink to it"
    )
    return [text]
