"""init: the files of a new instance"""

import argparse
import json
import os
import pwd
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wssupervisor.commands import init_account
from wssupervisor.control.paths import systemd_runs
from wssupervisor.errors import ConfigInvalid, OperationFailed, UsageError
from wssupervisor.plural import count

if TYPE_CHECKING:
    from wssupervisor.config.model import Config

EXAMPLES = """\
Writes /etc/wssupervisor/NAME.toml and drop-ins for wssupervisor@NAME.socket (the address, once for
each slot) and wssupervisor@NAME.service (the user), checks them, and prints the next steps.
Existing files are not overwritten. Without --user the instance gets its own user, wss-NAME:
instances that share a user can read each other's secrets and reload each other.

examples:
  wssctl init chat --listen 0.0.0.0:8765 --command '/srv/chat/current/bin/python -m chat' \\
         --directory /srv/chat/current --user chat --workers 2
  wssctl init chat --listen 0.0.0.0:8765 --command 'uvicorn chat:app --fd 3' --dry-run
"""

SLOTS_MIN = 16


@dataclass(frozen=True, slots=True)
class Written:
    """`private`: only root and the instance's group may read it, because it may hold secrets."""

    path: Path
    text: str
    private: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("name", help="name of the instance: up to 64 letters, digits, . - _")
    add(
        "--command",
        required=True,
        metavar="WORDS",
        help="command of the server, quoted as for a shell",
    )
    add(
        "--listen",
        required=True,
        metavar="ADDRESS",
        help="address to listen on, such as 0.0.0.0:8765 or unix:/run/x",
    )
    add(
        "--directory",
        help=("working directory of the server, such as a symlink to the current release"),
    )
    add(
        "--user",
        help=("user that runs the server (default: wss-NAME, made for this instance alone)"),
    )
    add("--workers", default="1", metavar="N", help='number of workers, or "auto" (default: 1)')
    add(
        "--ready",
        metavar="BY",
        help=("how a worker becomes ready: connect, notify or delay (default: connect)"),
    )
    add(
        "--drain-signal",
        metavar="NAME",
        help=(
            "signal at which the server stops accepting and keeps its connections, or none if it"
            " uses the library wssupervisor.worker (default: none; required for unix:PATH)"
        ),
    )
    add("--dry-run", action="store_true", help="print the files instead of writing them")
    add("--root", default="/", metavar="DIR", help="write below this directory (default: /)")


def unquoted(given: argparse.Namespace, unknown: Sequence[str]) -> str:
    """The correction, if words of the command were taken for arguments of init."""
    command = shlex.quote(shlex.join([given.command, *unknown]))
    return f"; --command takes one argument: --command {command}"


def run(given: argparse.Namespace) -> int:
    config = _config_text(given)
    checked = _checked(given.name, config)
    own = given.user is None
    given.user = init_account.own_user(given.name) if own else given.user
    files = [
        Written(Path(given.root, "etc/wssupervisor", f"{given.name}.toml"), config, private=True),
        Written(_drop_in(given, "socket", "address.conf"), _socket_text(given, checked)),
        Written(_drop_in(given, "service", "user.conf"), _service_text(given)),
    ]
    if own:
        place = init_account.sysusers_file(given.root, given.name)
        files.append(Written(place, init_account.sysusers_text(given.name)))
    else:
        init_account.check_exists(given.user)
    shared = init_account.sharing(given.root, given.name, given.user)
    if shared is not None and given.dry_run:
        print(f"shared: {shared}")
    if given.dry_run:
        for written in files:
            print(f"# {written.path}\n{written.text}")
    else:
        _write(files, given.user, makes_user=own and init_account.may_make(given.root))
    if shared is not None and not given.dry_run:
        print(f"shared: {shared}")
    print(_next_steps(given, files))
    for warning in _unreachable(given):
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def _config_text(given: argparse.Namespace) -> str:
    """Return the configuration file's text, without the address, which only the socket unit has."""
    words = shlex.split(given.command)
    workers = given.workers if given.workers.isdecimal() else _quoted(given.workers)
    lines = [
        f"# Instance {given.name} of wssupervisor: see wssupervisor.toml(5). After a change:",
        f"# wssctl check THIS-FILE && systemctl reload wssupervisor@{given.name}",
        "[app]",
        f"command = [{', '.join(_quoted(word) for word in words)}]",
        *([f"directory = {_quoted(given.directory)}"] if given.directory else []),
        f"workers = {workers}",
        "",
        "[[listen]]",
        "# FileDescriptorName= of the socket unit, which has the address.",
        'name = "ws"',
    ]
    if given.ready:
        lines += ["", "[ready]", f"by = {_quoted(given.ready)}"]
    if given.drain_signal:
        lines += ["", "[drain]", f"signal = {_quoted(given.drain_signal)}"]
    lines += [
        "",
        "# For monitoring and load balancers; each instance needs its own address.",
        "# [http]",
        '# address = "127.0.0.1:9464"',
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Quote text as a TOML string, which every JSON string is."""
    return json.dumps(text, ensure_ascii=False)


def _checked(name: str, text: str) -> "Config":
    """The configuration as the daemon will read it. Raises ConfigInvalid."""
    from wssupervisor.config.model import Overrides  # noqa: PLC0415 - not needed for --help
    from wssupervisor.config.schema import load_config  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "new.toml")
        path.write_text(text, encoding="utf-8")
        try:
            return load_config(str(path), Overrides(name=name))
        except ConfigInvalid as error:
            problems = [one.replace(f"{path}: ", "") for one in error.problems]
            raise ConfigInvalid(problems) from None


def _socket_text(given: argparse.Namespace, config: "Config") -> str:
    from wssupervisor.config.model import UnixAddress, parse_address  # noqa: PLC0415

    try:
        address = parse_address(given.listen)
    except ValueError as error:
        raise UsageError(f"--listen {given.listen!r}: {error}") from None
    if isinstance(address, UnixAddress):
        _check_shared(given)
        return f"[Socket]\nReusePort=no\nListenStream={address.path}\n"
    slots = max(SLOTS_MIN, config.slots_wanted())
    lines = [
        "[Socket]",
        f"# One line for each slot: {slots}, enough for {count(config.app.workers, 'worker')} and",
        "# draining generations. To change them or the address:",
        f"# systemctl stop wssupervisor@{given.name}.socket wssupervisor@{given.name}.service,",
        "# edit, systemctl daemon-reload, start both.",
        *[f"ListenStream={address}"] * slots,
    ]
    return "\n".join(lines) + "\n"


def _service_text(given: argparse.Namespace) -> str:
    return (
        "[Unit]\n"
        "# The service starts the socket. Stopping or restarting the socket does so with both.\n"
        f"Requires=wssupervisor@{given.name}.socket\n"
        "\n"
        "[Service]\n"
        f"User={given.user}\n" + _homes_text(given)
    )


def _homes_text(given: argparse.Namespace) -> str:
    if init_account.needs_homes(given.user, given.directory, shlex.split(given.command)):
        return ""
    return (
        "# No file of the instance is in a home. For a release in one: ProtectHome=read-only\n"
        "ProtectHome=tmpfs\n"
    )


def _check_shared(given: argparse.Namespace) -> None:
    """Raises UsageError if no reload could succeed."""
    if given.ready in (None, "connect"):
        raise UsageError(
            "old and new workers share an AF_UNIX listener, so a probe may reach either. Give"
            " --ready notify (the server sends READY=1) or --ready delay"
        )
    if given.drain_signal is None:
        raise UsageError(
            "old and new workers share an AF_UNIX listener, so old workers must stop accepting at a"
            " reload. Give --drain-signal NAME with a signal at which the server closes its"
            " listener and keeps its connections, or --drain-signal none if it uses the library"
            " wssupervisor.worker"
        )


def _unreachable(given: argparse.Namespace) -> list[str]:
    """A warning if root can enter the release and its user cannot, as below a home directory."""
    if given.directory is None or os.geteuid() != 0 or not Path(given.directory).is_dir():
        return []
    try:
        user = pwd.getpwnam(given.user)
    except KeyError:
        return []  # a dry run has not made it
    done = subprocess.run(
        ["/usr/bin/test", "-x", given.directory],
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=os.getgrouplist(given.user, user.pw_gid),
        check=False,
    )
    if done.returncode == 0:
        return []
    return [
        (
            f"user {given.user} may not enter {given.directory}: a directory above it is closed to"
            " other users. Install releases elsewhere, such as in /srv, allow the user (setfacl -m"
            f" u:{given.user}:x on that directory), or run the instance as its owner (--user)"
        )
    ]


def _drop_in(given: argparse.Namespace, kind: str, name: str) -> Path:
    unit = f"wssupervisor@{given.name}.{kind}.d"
    return Path(given.root, "etc/systemd/system", unit, name)


def _write(files: list[Written], user: str, *, makes_user: bool) -> None:
    """Write all files or none, and make the user. Raises OperationFailed."""
    there = [str(written.path) for written in files if written.path.exists()]
    if there:
        raise OperationFailed(
            f"{' and '.join(there)} already exists and is not overwritten. Remove it, or choose"
            " another name"
        )
    done: list[Path] = []
    try:
        for written in files:
            written.path.parent.mkdir(parents=True, exist_ok=True)
            mode = 0o640 if written.private else 0o644
            descriptor = os.open(written.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            done.append(written.path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(written.text)
        if makes_user:
            init_account.make(files[-1].path)
        group = init_account.group(user)
        for written in files:
            if written.private and group is not None and os.geteuid() == 0:
                os.chown(written.path, -1, group)
    except (OSError, OperationFailed) as error:
        for path in done:
            path.unlink(missing_ok=True)
        if isinstance(error, OperationFailed):
            raise
        raise OperationFailed(
            f"{error.filename or files[len(done)].path}: {error.strerror}. Run init as root"
        ) from error


def _next_steps(given: argparse.Namespace, files: list[Written]) -> str:
    written = "would write" if given.dry_run else "wrote"
    lines = [f"{written} {one.path}" for one in files]
    steps: list[str]
    if systemd_runs():
        unit = f"wssupervisor@{given.name}"
        steps = [
            f"  systemctl enable --now {unit}.socket {unit}.service",
            f"  systemctl status {unit}.service",
            f"  systemctl reload {unit}.service      after each deploy",
        ]
    else:
        steps = [
            "  systemd does not run here, so give the address:",
            f"  wssupervisor --config {files[0].path} --listen {given.listen}",
            f"  wssctl -i {given.name} reload      after each deploy",
        ]
    return "\n".join([*lines, "next:", *_user_steps(given, files), *steps])


def _user_steps(given: argparse.Namespace, files: list[Written]) -> list[str]:
    """Return the steps that make the user, if init could not make it."""
    if given.dry_run or init_account.group(given.user) is not None:
        return []
    user, config = given.user, files[0].path
    return [
        f"  useradd --system --shell /usr/sbin/nologin {user}    (or: systemd-sysusers)",
        f"  chgrp {user} {config}",
    ]
