"""check: is a configuration valid, and what would run; needs no daemon"""

import argparse
import ipaddress
import os
import shlex
import sys
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wssupervisor.commands import socket_unit
from wssupervisor.errors import ConfigInvalid, ReleaseInvalid
from wssupervisor.harmless import harmless

if TYPE_CHECKING:
    from wssupervisor.config.model import Config

EXAMPLES = """\
All mistakes of the file are told at once. Exit status 78 when there are any.

examples:
  wssctl check /etc/wssupervisor/chat.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="the configuration (TOML)")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(given: argparse.Namespace) -> int:
    return check(given.file, json=given.json)


def check(path: str, *, json: bool) -> int:
    """Print what would run, or all that is wrong; returns the exit status."""
    # Here and not above: the other verbs start without these.
    from wssupervisor import start_directory  # noqa: PLC0415
    from wssupervisor.config.model import Overrides  # noqa: PLC0415
    from wssupervisor.config.schema import load_config  # noqa: PLC0415
    from wssupervisor.runtime.releases.release import not_set, resolve, with_descriptors  # noqa: PLC0415
    from wssupervisor.runtime.releases.unpinned import unpinned  # noqa: PLC0415

    if not Path(path).exists():
        problem = (
            f"{path}: no such file; `wssctl init NAME --listen ADDRESS --command WORDS` writes"
            " one, wssupervisor.toml(5) says what may be in it"
        )
        return _invalid([problem], json=json)
    try:
        config = load_config(path, Overrides(start=start_directory.found()))
        missing = not_set(config, os.environ)
        # The daemon has another environment than this shell.
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


def _found(config: "Config", command: Sequence[str], directory: str) -> dict[str, Any]:
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


def _show(path: str, found: dict[str, Any]) -> None:
    workers = found["workers"]
    _print(f"{path}: valid; instance {found['name']!r} would run")
    _print(f"  {shlex.join(found['command'])}")
    _print(f"  in {found['directory']}, {workers} worker{'' if workers == 1 else 's'}")
    for one in found["listeners"]:
        by_client = ", by client address" if one["balance"] == "client" else ""
        _print(f"  listener {one['name']}: {one['address'] or 'address from systemd'}{by_client}")
    _print(
        f"  needs {found['slots_wanted']} slots for each listener, and"
        f" {found['descriptors_wanted']} open files (LimitNOFILE=)"
    )
    if found["http"] is not None:
        _print(f"  http: {found['http']}")
    if found["agent"] is not None:
        _print(f"  agent: {found['agent']}")
    for warning in found["warnings"]:
        print(f"warning: {harmless(warning, kept='')}", file=sys.stderr)


def _print(text: str) -> None:
    """One line, whatever names are in it."""
    print(harmless(text, kept=""))


def _of_variables(config: "Config", missing: Sequence[str]) -> list[str]:
    if not missing:
        return []
    names, plural = ", ".join(missing), len(missing) > 1
    text = (
        f"[app] pass_environment: {names} {'are' if plural else 'is'} not set in this shell; the"
        f" daemon of {config.name!r} must be started with {'them' if plural else 'it'}"
    )
    return [text]


def _of_shared_mode(config: "Config") -> list[str]:
    if config.drain.signal is not None:
        return []
    return [
        f"listener {one.name!r} is in shared mode ({one.why_shared}) and [drain] signal is none:"
        " nothing tells the old workers to stop accepting, so every reload is refused; set [drain]"
        " signal to one at which the server closes its listener and keeps its connections, unless"
        " it uses the library wssupervisor.worker"
        for one in config.listeners
        if one.why_shared is not None
    ]


def _of_balance(config: "Config") -> list[str]:
    """By client on a loopback address all clients look the same."""
    from wssupervisor.config.model import Address, Balance  # noqa: PLC0415

    return [
        f'listener {one.name!r} has balance = "client" on {one.address}: a reverse proxy connects'
        " from one address for all its clients, and then one worker gets all of them; have the"
        " proxy use several source addresses (docs/guides/sticky-clients.md)"
        for one in config.listeners
        if one.balance is Balance.CLIENT
        and config.app.workers > 1
        and isinstance(one.address, Address)
        and ipaddress.ip_address(one.address.host).is_loopback
    ]


def _of_directory(directory: str) -> list[str]:
    # A symlink anywhere on the way will do: /srv/current/chat can be switched as a whole.
    if os.path.realpath(directory) != os.path.abspath(directory):  # noqa: PTH100
        return []
    text = (
        f"[app] directory {directory} is not a symlink: a worker that is started again runs what is"
        " there then, not the release that was judged; install each release in a directory of"
        " its own and let a symlink point to it"
    )
    return [text]
