"""The file of the control socket, and the lock beside it that prevents a second daemon."""

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path

from wssupervisor.control.hints import options
from wssupervisor.control.paths import SAFE_PLACE, make_directory
from wssupervisor.control.socket_file import (
    Identity,
    bound,
    identity,
    refuse_other_files,
    replace_stale,
)
from wssupervisor.errors import InstanceRunning, ListenFailed
from wssupervisor.foreign import close_beside
from wssupervisor.lock_file import Held, LockFile


@dataclass(frozen=True, slots=True)
class ControlState:
    """`made_directory`: we created the directory of the socket, and a clean stop removes it."""

    listening: int
    lock: int
    made_directory: bool

    def descriptors(self) -> tuple[int, ...]:
        return self.listening, self.lock


class ControlSocket:
    """Owns the lock and, from `listen` or `adopt` on, the listening socket."""

    def __init__(self, path: str, lock: LockFile, *, made_directory: bool) -> None:
        self.path = path
        self._lock: LockFile | None = lock
        self._made_directory = made_directory
        self._listening: socket.socket | None = None
        self._file: Identity | None = None

    @classmethod
    def claim(cls, path: str) -> "ControlSocket":
        """Become the only daemon of this path. Raises InstanceRunning, ListenFailed."""
        lock, made_directory = _claimed(path)
        return cls(path, lock, made_directory=made_directory)

    @classmethod
    def restore(cls, path: str, state: ControlState) -> "ControlSocket":
        """Take over lock and socket; clients that connected meanwhile are in the socket's queue."""
        lock = LockFile.held(path, state.lock)
        found = cls(path, lock, made_directory=state.made_directory)
        found.adopt(state.listening)
        return found

    def save(self) -> ControlState:
        """Return the state for `restore`. Call it only while the socket listens."""
        assert self._lock is not None
        return ControlState(self.listening.fileno(), self._lock.fileno(), self._made_directory)

    @property
    def listens(self) -> bool:
        return self._listening is not None

    @property
    def listening(self) -> socket.socket:
        assert self._listening is not None
        return self._listening

    def listen(self) -> None:
        """Listen, and replace a socket that a dead daemon left. Raises ListenFailed."""
        try:
            refuse_other_files(self.path)
            with contextlib.suppress(FileNotFoundError):
                Path(self.path).unlink()
            self._listening = bound(self.path)
        except OSError as error:
            advice = (
                "the path is too long for a socket"
                if "too long" in str(error)
                else (error.strerror or str(error))
            )
            raise ListenFailed(f"cannot make the control socket {self.path}: {advice}") from error
        self._file = identity(self.path)

    def adopt(self, listening: int) -> None:
        """Use a socket that outlived its daemon, instead of `listen`."""
        self._listening = socket.socket(fileno=listening)
        self._listening.setblocking(False)
        self._file = identity(self.path)

    def mend_lock(self) -> bool:
        """Claim the path again if the lock was deleted. Returns whether it was.

        Raises OSError, InstanceRunning, ListenFailed.
        """
        assert self._lock is not None
        if self._lock.is_there():
            return False
        old = self._lock
        self._lock, made_directory = _claimed(self.path)
        self._made_directory |= made_directory
        old.abandon()
        return True

    def mend_file(self) -> socket.socket | None:
        """Listen again if the file was deleted. Returns the socket that no client can find now.

        Takes nothing from another daemon that listens at the path by now: raises ListenFailed.
        Raises OSError.
        """
        if identity(self.path) == self._file:
            return None
        replace_stale(self.path)
        old, self._listening = self.listening, bound(self.path)
        self._file = identity(self.path)
        return old

    def close(self) -> None:
        """Stop new clients from connecting."""
        if self._listening is not None:
            close_beside(self._listening)
            self._listening = None

    def release(self) -> None:
        """Close, remove what we made, and release the path for another daemon."""
        self.close()
        if self._file is not None:
            self._file = None
            with contextlib.suppress(FileNotFoundError):
                Path(self.path).unlink()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._made_directory:
            self._made_directory = False
            with contextlib.suppress(OSError):
                Path(self.path).parent.rmdir()


def _claimed(path: str) -> tuple[LockFile, bool]:
    """Return the lock, and whether we made the directory. Raises InstanceRunning, ListenFailed."""
    try:
        refuse_other_files(path)
        made_directory = make_directory(Path(path).parent)
        return LockFile.claim(path), made_directory
    except Held as held:
        raise InstanceRunning(
            f"a daemon (pid {held.owner}) is already running at {path}. Deploy a new release with"
            f" `wssctl {options(path)} reload`, stop it with `wssctl {options(path)} stop`, or give"
            " this one another --name"
        ) from None
    except OSError as error:
        raise ListenFailed(
            f"cannot make the control socket {path}: {error.strerror}. {SAFE_PLACE}"
        ) from error
