"""A shell in namespaces of its own that follows a document: own ports, /srv and processes."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.docs.blocks import ROOT, Step

NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
UNPRIVILEGED = ("--user", "--map-root-user")
WITHIN = 300.0
FOLLOWS_SECONDS = 3
FOLLOWS = ("--follow", "--watch")

UP = """
import fcntl, socket
SIOCSIFFLAGS, UP_AND_RUNNING = 0x8914, b"A"
fcntl.ioctl(socket.socket(), SIOCSIFFLAGS, b"lo" + bytes(14) + UP_AND_RUNNING + bytes(15))
"""

# What documents do to a reader's machine must not be done to this one: all but the scratch
# directory is read-only before the first command runs, or none does.
PREPARE = f"""
set -eu
"$PYTHON" -c {shlex.quote(UP)}
mount --make-rprivate /
mount --bind "$WRITABLE" "$WRITABLE"
while read -r _ _ _ _ place options _; do
    case $place in "$WRITABLE" | /proc | /proc/* | /dev | /dev/*) continue ;; esac
    mount -o "remount,bind,ro,${{options#rw,}}" "$place"
done </proc/self/mountinfo
for place in /srv /run /etc /usr /root /opt /var /home /; do
    [ ! -d $place ] || ! touch $place/.written 2>/dev/null || exit 1
done
mount -t tmpfs none /srv
mount -t tmpfs none /run
mkdir /run/wssupervisor
cd "$HOME"
set +eu
"""

# A daemon in the foreground keeps running while the next command is typed in another terminal.
SERVING = """
served() {
    for _ in $(seq 300); do
        wssctl "$@" status --json 2>/dev/null | grep -q '"state": "serving"' && return
        kill -0 $! 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}
"""


@dataclass(frozen=True, slots=True)
class Done:
    step: Step
    status: int
    printed: str


def follow(steps: Sequence[Step], directory: Path, log: Path) -> list[Done]:
    """Do all of them in one shell, in the directory; what became of each that was reached."""
    log.mkdir()
    script = log / "script"
    script.write_text(PREPARE + SERVING + "".join(map(_lines, range(len(steps)), steps)))
    user = () if os.geteuid() == 0 else UNPRIVILEGED
    subprocess.run(
        [*NAMESPACES, *user, "bash", str(script)],
        cwd=directory,
        env={
            "CHECKOUT": str(ROOT),
            "PYTHON": sys.executable,
            "WRITABLE": str(directory.parent),
            "PATH": f"{ROOT}/.venv/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(directory),
            "LOG": str(log),
            "LANG": "C.UTF-8",
            "TMPDIR": str(directory),
            "COLUMNS": "100",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        timeout=WITHIN,
        check=False,
    )
    found = []
    for number, step in enumerate(steps):
        status, printed = log / f"{number}.status", log / f"{number}.out"
        if not status.exists():
            break
        found.append(Done(step, int(status.read_text()), printed.read_text(errors="replace")))
    return found


def _lines(number: int, step: Step) -> str:
    out, status = f'"$LOG/{number}.out"', f'"$LOG/{number}.status"'
    if step.makes is not None:
        name, text = shlex.quote(step.makes), shlex.quote(step.command)
        run = f"mkdir -p $(dirname {name}); printf %s {text} > {name}"
        return f"{{ {run}; }} > {out} 2>&1; echo $? > {status}\n"
    command = shlex.quote(step.command)
    if any(word in step.command for word in FOLLOWS):
        run = f"timeout --preserve-status --signal=INT {FOLLOWS_SECONDS} bash -c {command}"
        return f"{run} > {out} 2>&1; echo 0 > {status}\n"
    if step.command.startswith("wssupervisor ") and "--version" not in step.command:
        wait = "served" if "--name" not in step.command else f"served -i {_name(step.command)}"
        return f"eval {command} > {out} 2>&1 &\n{wait}; echo $? > {status}\n"
    return f"eval {command} > {out} 2>&1; echo $? > {status}\n"


def _name(command: str) -> str:
    words = shlex.split(command)
    return words[words.index("--name") + 1]
