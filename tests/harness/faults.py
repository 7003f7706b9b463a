"""Run the daemon, and let one system call of a step fail.

    python faults.py DIRECTORY ARGUMENT...

A step is all that one event brings about: from `Supervisor.post` to the last action. While the file
`armed` in DIRECTORY exists, the next system call of a step fails, if none has failed at its place
in the program yet. The file holds a JSON object: at most `count` calls fail, each in a step of its
own, until the file has another `number`. `errors` are the names of those that a call may fail with,
each in turn; with `each` a call fails at its place once with each of them, and once for each kind
of event. DIRECTORY/faults has a line for each call that failed, for each step that raised, and for
each call that may block.

By a profile function of the main thread, which is called before each function of C and may raise in
its place: so the daemon is as it always is, and what fails is any call that it makes.
"""

import errno
import io
import json
import os
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from wssupervisor import daemon
from wssupervisor.fleet.events import Event
from wssupervisor.runtime.supervisor import Supervisor

MODULES = {"posix", "fcntl", "select", "_socket", "_io", "io", "_signal", "resource", "time"}
NO_CALLS = {
    *("fspath", "fsencode", "fsdecode", "strerror", "getpid", "getppid", "getuid", "geteuid"),
    *("inet_pton", "inet_ntop", "CMSG_SPACE", "CMSG_LEN", "htons", "ntohs", "poll", "epoll"),
    *("monotonic", "time", "time_ns", "clock_gettime", "thread_time", "process_time", "strftime"),
    *("localtime", "gmtime", "getsignal", "pthread_sigmask", "valid_signals", "text_encoding"),
    *("fileno", "gettimeout", "settimeout", "setblocking", "detach", "seekable", "readable"),
    *("writable", "isatty", "getvalue", "getbuffer", "__enter__", "__exit__", "register", "flush"),
}
BLOCKING = {"recv", "recvmsg", "recv_into", "send", "sendall", "sendmsg", "_accept", "connect"}
ON_DISK = ("history_file.", "slot_counts.", "release.", "config_file.")
"""Modules that read and write where a disk may hang; the state is in memory (/run)."""
NEVER_BLOCKING = (socket.AF_NETLINK,)
"""The kernel answers within the call."""


class Faults:
    def __init__(self, directory: Path) -> None:
        self._armed = directory / "armed"
        self._report = os.open(directory / "faults", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._done: set[object] = set()
        self._order: dict[str, Any] = {}
        self._event = ""
        self._turn = 0
        self._left = 0

    def begin(self, event: Event) -> None:
        self._event = type(event).__name__
        try:
            order = json.loads(self._armed.read_text())
        except FileNotFoundError:
            return
        if order["number"] != self._order.get("number"):
            self._order, self._left = order, order["count"]
        if self._left:
            sys.setprofile(self._look)

    def end(self) -> None:
        sys.setprofile(None)

    def report(self, **what: object) -> None:
        os.write(self._report, json.dumps(what).encode() + b"\n")

    def _look(self, frame: FrameType, event: str, what: Any) -> None:
        name = _system_call(frame, event, what)
        if name is None:
            return
        places = _places(frame)
        if event == "c_call" and (_may_block(name, what) or _is_on_disk(places)):
            self.report(blocks=name, at=places)
        errors = self._order["errors"]
        if self._order.get("each"):
            keys: list[object] = [(one, self._event, name, *places) for one in errors]
        else:
            keys = [(name, *places)]
        left = [at for at, key in enumerate(keys) if key not in self._done]
        if not left:
            return
        self._done.add(keys[left[0]])
        self._turn += 1
        error = errors[left[0]] if self._order.get("each") else errors[self._turn % len(errors)]
        self._left -= 1
        self.report(fails=name, with_=error, event=self._event, at=places)
        number = getattr(errno, error)
        raise OSError(number, os.strerror(number))


def _system_call(frame: FrameType, event: str, what: Any) -> str | None:
    if event == "call":  # what a class does when it is made is no function to the profiler
        made = frame.f_code is socket.socket.__init__.__code__
        return "socket" if made and frame.f_locals.get("fileno") is None else None
    if event not in ("c_call", "c_return"):
        return None
    name, own = what.__name__, what.__self__
    if (name == "close") != (event == "c_return"):  # a close that fails has closed, too
        return None
    if name in NO_CALLS and not (name == "register" and type(own).__name__ == "epoll"):
        return None
    if isinstance(own, type(os)):
        own_name = own.__name__
        if own_name not in MODULES or name.startswith(("_", "W")):
            return None
        return None if own_name == "time" and name != "sleep" else f"{own_name}.{name}"
    if isinstance(own, socket.socket):
        return f"socket.{name}"
    if isinstance(own, io.IOBase) and not isinstance(own, io.BytesIO | io.StringIO):
        return f"file.{name}"
    if type(own).__name__ in ("epoll", "poll"):
        return f"{type(own).__name__}.{name}"
    return None


def _may_block(name: str, what: Any) -> bool:
    if name == "time.sleep":
        return True
    own = what.__self__
    if not isinstance(own, socket.socket) or name.removeprefix("socket.") not in BLOCKING:
        return False
    return own.family not in NEVER_BLOCKING and own.gettimeout() != 0


def _is_on_disk(places: list[str]) -> bool:
    return any(one.startswith(ON_DISK) for one in places)


def _places(frame: FrameType | None) -> list[str]:
    """Where it is called, from the inside to the step."""
    found = []
    while frame is not None and frame.f_code.co_name != "step":
        found.append(
            f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}:{frame.f_lineno}"
        )
        frame = frame.f_back
    return found


def main() -> int:
    faults = Faults(Path(sys.argv.pop(1)))
    post = Supervisor.post

    def step(self: Supervisor, event: Event) -> None:
        if self._handling:  # within a step
            post(self, event)
            return
        faults.begin(event)
        try:
            post(self, event)
        except BaseException as error:
            faults.end()
            faults.report(raised=repr(error), event=type(event).__name__)
            raise
        finally:
            faults.end()

    Supervisor.post = step  # type: ignore[method-assign]
    return daemon.main()


if __name__ == "__main__":
    sys.exit(main())
