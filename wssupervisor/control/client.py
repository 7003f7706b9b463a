"""The client of the control socket, for wssctl. Standard library only, to start fast."""

import grp
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

from wssupervisor.control import protocol
from wssupervisor.control.fitting import fit
from wssupervisor.control.hints import addressed, word
from wssupervisor.control.paths import instances, running, systemd_runs
from wssupervisor.control.safe_place import danger
from wssupervisor.control.verbs import VERBS, Answer, Request, Sent, Verb
from wssupervisor.errors import (
    EXIT_STATUS_BY_CODE,
    NotAllowed,
    NotRunning,
    OperationFailed,
    ProtocolError,
    UsageError,
)

SILENCE_SECONDS = 10.0
"""The daemon sends a line at least every 2 s. After this much silence it hangs or is gone."""
CONNECT_SECONDS = 5.0
PARTS_CHARS = protocol.ANSWER_CHARS + (protocol.ANSWER_CHARS >> 3)
"""Limit of an answer in parts, with PART_COST for each: a peer may send endless empty parts."""
PART_COST = 100


class DaemonError(OperationFailed):
    """The daemon answered with an error. `code` and exit status are from the daemon."""

    def __init__(self, code: str, message: str, data: protocol.Object) -> None:
        lines = data.get("lines")
        lines = lines if isinstance(lines, list) else []
        super().__init__(message, lines=[str(line) for line in lines])
        self.code = code
        self.exit_status = EXIT_STATUS_BY_CODE.get(code, 1)
        self.data = data


class Silence(OperationFailed):
    """The daemon sent nothing for SILENCE_SECONDS."""


def find_control(name: str | None, control: str | None, environment: str | None) -> str:
    """Return the control socket of the chosen instance. Raises NotRunning, UsageError."""
    if control or (environment and not name):
        return control or environment or ""
    if name is not None:
        return _named(name)
    found = running()
    if not found:
        raise NotRunning(f"no instance is running. Start one with {_how_to_start(None)}")
    if len(found) > 1:
        raise UsageError(
            f"several instances are running: {', '.join(found)}. Choose one with -i NAME"
        )
    return next(iter(found.values()))


def _named(name: str) -> str:
    """Return the socket of an instance, even if its daemon is dead: connecting reports that."""
    same = [one for one in instances() if one.name == name]
    if same:
        return min(same, key=lambda one: one.reach).path
    raise NotRunning(
        f"no instance {name!r} is running{_others(name)}Start it with {_how_to_start(name)}"
    )


def _others(name: str) -> str:
    """List the running instances, and ask for the one that may be meant."""
    found = list(running())
    if not found:
        return ". "
    from difflib import get_close_matches  # noqa: PLC0415 - only for a mistyped name

    meant = get_close_matches(name, found, 1)
    asked = f"Did you mean -i {word(meant[0])}? " if meant else ""
    return f" (running: {', '.join(found)}). {asked}"


def _how_to_start(name: str | None) -> str:
    own = f" --name {word(name)}" if name else ""
    by_hand = f"`wssupervisor{own} --listen 127.0.0.1:8765 -- COMMAND`"
    unit = f"`systemctl start wssupervisor@{word(name or 'NAME')}`"
    return f"{unit} or {by_hand}" if systemd_runs() else by_hand


def _who_may(path: str) -> str:
    """Name the users that may open a control socket, as far as this user can see."""
    for there in (Path(path), *Path(path).parents):
        try:
            group = there.stat().st_gid
        except OSError:
            continue
        try:
            name = grp.getgrgid(group).gr_name
        except KeyError:
            name = str(group)
        if not group:
            break
        return (
            f"only root, the daemon's user and members of group {name!r} may. To join the group:"
            f" `sudo usermod -aG {word(name)} $USER`, then log in again"
        )
    return "only root and the daemon's user may. Try sudo"


def _is_safe(path: str) -> bool:
    """Whether a daemon would accept the path: others are not recommended."""
    try:
        return danger(Path(path).parent) is None
    except FileNotFoundError:
        return True  # the daemon creates the directory
    except OSError:
        return False


class Gone(OperationFailed):
    """The daemon closed the connection without an answer: it was re-executed, or died."""


class Client:
    """Makes one request at a time, each on its own connection.

    `chosen`: the options that name this instance in the commands of hints, "" if none are needed.
    """

    def __init__(self, path: str, chosen: str = "") -> None:
        self.path, self.chosen = path, chosen
        self.patience = SILENCE_SECONDS

    def hint(self, text: str) -> str:
        """Return the text with commands that reach this instance."""
        return addressed(text, self.chosen)

    def ask(
        self,
        verb: Verb[Request, Answer, Sent],
        request: Request,
        on_event: Callable[[Sent], None] | None = None,
    ) -> Answer:
        """Send a request and wait for its answer; check the types of the answer and of each event.

        Raises Misfit if a type is wrong, and what `call` raises.
        """

        def take(event: protocol.Object) -> None:
            if on_event is not None:
                on_event(fit(verb.event, event))

        params = cast(protocol.Object, request)
        return fit(verb.answer, self.call(verb.name, params, take))

    def call(
        self,
        method: str,
        params: protocol.Object | None = None,
        on_event: Callable[[protocol.Object], None] | None = None,
    ) -> protocol.Object:
        """Send a request and wait; `on_event` gets what comes before the answer, except keepalives.

        Raises NotRunning, NotAllowed, DaemonError, Silence, Gone, ProtocolError.
        """
        try:
            return self._ask(method, params or {}, on_event)
        except Gone:
            if method not in VERBS or not VERBS[method].repeatable:
                raise
        return self._ask(method, params or {}, on_event)  # to the new program, after an upgrade

    def _ask(
        self,
        method: str,
        params: protocol.Object,
        on_event: Callable[[protocol.Object], None] | None,
    ) -> protocol.Object:
        with self._connected() as connection:
            connection.settimeout(self.patience)
            request = {"id": 1, "method": method, "params": params}
            try:
                with suppress(ConnectionError):  # a refusal, whose reason can still be read
                    connection.sendall(protocol.encode(request))
                for message in self._messages(connection):
                    if "event" in message:
                        if on_event is not None and message["event"] != protocol.KEEPALIVE:
                            on_event(_event(message))
                        continue
                    return self._unpacked(message)
            except TimeoutError:
                raise Silence(
                    f"the daemon at {self.path} has sent nothing for {self.patience:g} s."
                    " Is it stopped or hung?"
                ) from None
            except ConnectionError:
                pass
        raise Gone(f"the daemon at {self.path} closed the connection without an answer")

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(min(CONNECT_SECONDS, self.patience))
        try:
            connection.connect(self.path)
        except PermissionError:
            connection.close()
            raise NotAllowed(f"not allowed to open {self.path}: {_who_may(self.path)}") from None
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            text = f"no daemon answers at {self.path}"
            stale = (
                "; the socket is left over from a daemon that died"
                if Path(self.path).exists()
                else ""
            )
            given = f"--control {word(self.path)} " if _is_safe(self.path) else ""
            start = f". Start one with `wssupervisor {given}--config FILE`"
            raise NotRunning(text + stale + start) from None
        except BlockingIOError:
            connection.close()
            raise Silence(
                f"the daemon at {self.path} accepts no connections. Is it stopped or hung?"
            ) from None
        except OSError as error:
            connection.close()
            raise NotRunning(f"cannot connect to {self.path}: {error}") from None
        return connection

    def _messages(self, connection: socket.socket) -> Iterator[protocol.Object]:
        """Yield the messages of the daemon, and join an answer in parts."""
        parts: list[str] = []
        room = PARTS_CHARS
        for line in self._lines(connection):
            message = protocol.decode(line)
            if "part" not in message:
                yield message
                continue
            part = str(message["part"])
            room -= len(part) + PART_COST
            if room < 0:
                raise ProtocolError("the daemon sent an answer that is too long")
            parts.append(part)
            if message.get("last"):
                yield protocol.decode_answer("".join(parts))

    def _unpacked(self, message: protocol.Object) -> protocol.Object:
        error, found = message.get("error"), message.get("result")
        if error is None and isinstance(found, dict):
            return found
        if not isinstance(error, dict):
            raise ProtocolError("the daemon sent neither a result nor an error")
        data = error.get("data")
        code, text = str(error.get("code")), self.hint(str(error.get("message")))
        raise DaemonError(code, text, data if isinstance(data, dict) else {})

    @staticmethod
    def _lines(connection: socket.socket) -> Iterator[bytes]:
        buffer = b""
        while True:
            line, newline, rest = buffer.partition(b"\n")
            if newline:
                buffer = rest
                yield line
                continue
            if len(buffer) > protocol.LINE_BYTES:
                raise ProtocolError("the daemon sent a line that is too long")
            data = connection.recv(protocol.LINE_BYTES)
            if not data:
                return
            buffer += data


def _event(message: protocol.Object) -> protocol.Object:
    found = message["event"]
    if not isinstance(found, dict):
        raise ProtocolError("the daemon sent an event that is not an object")
    return found
