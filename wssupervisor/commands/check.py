"""check: is a configuration valid, and what would run; needs no daemon"""

import argparse
import json
import sys
from pathlib import Path

from wssupervisor.errors import ConfigInvalid, ReleaseInvalid

EXAMPLES = """\
All mistakes of the file are told at once. Exit status 78 when there are any.

examples:
  wssctl check /etc/wssupervisor/chat.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="the configuration (TOML)")
    parser.add_argument("--json", action="store_true", help="for scripts")


def run(given: argparse.Namespace) -> int:
    # Here and not above: the other verbs start without these.
    from wssupervisor.config_file import load_config  # noqa: PLC0415
    from wssupervisor.runtime.release import resolve  # noqa: PLC0415

    try:
        config = load_config(given.file)
        release = resolve(config)
    except (ConfigInvalid, ReleaseInvalid) as error:
        problems = getattr(error, "problems", (str(error),))
        if given.json:
            print(json.dumps({"valid": False, "problems": list(problems)}))
        else:
            for problem in problems:
                print(problem, file=sys.stderr)
        return ConfigInvalid.exit_status
    warnings = _warnings(config.app.directory)
    found = {
        "valid": True,
        "name": config.name,
        "command": list(release.command),
        "directory": release.directory,
        "workers": config.app.workers,
        "listeners": [
            {"name": one.name, "address": None if one.address is None else str(one.address)}
            for one in config.listeners
        ],
        "warnings": warnings,
    }
    if given.json:
        print(json.dumps(found))
        return 0
    print(f"{given.file}: valid; instance {config.name!r} would run")
    print(f"  {' '.join(release.command)}")
    print(f"  in {release.directory}, {config.app.workers} worker(s)")
    for one in config.listeners:
        print(f"  listener {one.name}: {one.address or 'address from systemd'}")
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def _warnings(directory: str) -> list[str]:
    if Path(directory).is_symlink():
        return []
    text = (
        f"[app] directory {directory} is not a symlink: a worker that is started again runs what is"
        " there then, not the release that was judged; install each release in a directory of"
        " its own and let a symlink point to it"
    )
    return [text]
