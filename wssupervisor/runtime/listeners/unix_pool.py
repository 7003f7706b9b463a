"""An AF_UNIX listener: one socket that all workers share. It cannot be steered."""

import errno
import grp
import os
import pwd
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wssupervisor.config.model import Listen, UnixAddress
from wssupervisor.control.socket_file import bind, identity, unix_socket
from wssupervisor.errors import AddressTaken, ListenFailed
from wssupervisor.fleet.model import SlotId
from wssupervisor.foreign import close_beside
from wssupervisor.lock_file import Held, LockFile
from wssupervisor.runtime.kernel import unix_diag
from wssupervisor.runtime.kernel.descriptors import inherited
from wssupervisor.runtime.listeners.holders import describe_holders, ending
from wssupervisor.runtime.listeners.pool import Connections, PoolState
from wssupervisor.runtime.listeners.socket_options import options_of

WHY_SHARED = "AF_UNIX sockets cannot be steered"
INODE_BITS = 0xFFFFFFFF
STALE = {errno.ECONNREFUSED, errno.ENOENT}


class UnixSlot:
    """The listening socket; owns its descriptor."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.inode: SlotId = os.fstat(sock.fileno()).st_ino

    def look(self) -> int | None:
        return unix_diag.queued(self.inode)

    def listening(self) -> bool:
        return bool(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def listen(self, backlog: int) -> None:
        self.socket.listen(backlog)


class UnixPool:
    """Owns the socket and, if we bound it, its file and a lock beside that."""

    why_shared: str | None = WHY_SHARED

    def __init__(
        self,
        name: str,
        sock: socket.socket,
        path: str,
        *,
        lock: LockFile | None,
        original_options: dict[str, str] | None = None,
    ) -> None:
        """`original_options` None: the options that the socket has now."""
        self.name = name
        self.source = "systemd" if lock is None else "self"
        self.slots = [UnixSlot(sock)]
        self.original_options = options_of(sock) if original_options is None else original_options
        self._path = path
        self._lock = lock
        self._binding = unix_diag.binding(self.slots[0].inode)

    @property
    def address(self) -> str:
        return f"unix:{self._path}"

    def save(self) -> PoolState:
        lock = None if self._lock is None else self._lock.fileno()
        descriptors = (self.slots[0].socket.fileno(),)
        original_options = dict(self.original_options)
        return PoolState(
            self.name, self.source, self.why_shared, descriptors, original_options, self._path, lock
        )

    @classmethod
    def restore(cls, state: PoolState) -> "UnixPool":
        path = state.path or ""
        lock = None if state.lock is None else LockFile.held(path, state.lock)
        sock = inherited(state.descriptors[0])
        return cls(state.name, sock, path, lock=lock, original_options=dict(state.original_options))

    def by_inode(self, inode: SlotId) -> UnixSlot:
        return next(slot for slot in self.slots if slot.inode == inode)

    def check_alone(self) -> None:
        """Do nothing: no other process can share a path, only replace the file."""

    def connections(self) -> Connections:
        found = [one for one in unix_diag.connections(self._binding) if one.inode]
        inodes = frozenset(one.inode for one in found)
        left = frozenset(one.inode for one in found if one.peer_left)
        return Connections(inodes, live=inodes, peer_left=left)

    def is_swept(self) -> bool:
        """Whether the file that we made is gone: no client can connect. Raises OSError."""
        found, ours = identity(self._path), self._binding.file
        if self._lock is None or ours is None:
            return False
        return found is None or found[1] & INODE_BITS != ours[0]

    def abandon(self) -> None:
        """Close the socket, and leave the file at its path."""
        close_beside(self.slots[0].socket)
        if self._lock is not None:
            self._lock.abandon()
            self._lock = None

    def close(self) -> None:
        """Close the socket, and remove the file if it is still ours."""
        close_beside(self.slots[0].socket)
        if self._lock is None:
            return
        if self._binding.file is not None:
            _remove(self._path, self._binding.file[0])
        self._lock.release()
        self._lock = None


def bind_unix(listen: Listen) -> UnixPool:
    """Bind the path and listen, replacing a socket that a dead daemon left there.

    Raises AddressTaken, or ListenFailed with what to do about it.
    """
    address = listen.address
    assert isinstance(address, UnixAddress)
    path, name = address.path, listen.name
    try:
        lock = LockFile.claim(path)
        try:
            _remove_stale(path, name)
            return UnixPool(name, _bound(listen, path), path, lock=lock)
        except BaseException:
            lock.release()
            raise
    except Held:
        raise _taken(path, name) from None
    except OSError as error:
        raise ListenFailed(
            f"listener {name!r}: cannot listen on {address}: {error.strerror}."
            f" {_advice(error, path)}"
        ) from error


def adopt_unix(name: str, descriptor: int) -> UnixPool:
    """Make a pool of systemd's socket, which owns the descriptor. Raises ListenFailed."""
    sock = socket.socket(fileno=descriptor)
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        sock.close()
        raise ListenFailed(
            f"listener {name!r}, descriptor {descriptor}: not a listening stream socket. Use"
            " ListenStream= and Accept=no in the socket unit"
        )
    sock.settimeout(0)
    sock.set_inheritable(False)
    return UnixPool(name, sock, str(sock.getsockname()), lock=None)


def _remove_stale(path: str, name: str) -> None:
    """Remove a socket without a listener.

    Raises AddressTaken if a process listens, ListenFailed if the file is no socket, OSError.
    """
    try:
        found = Path(path).lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenFailed(
            f"listener {name!r}: {path} already exists and is not a socket. Remove it, or give the"
            " listener another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        if probe.connect_ex(path) not in STALE:
            raise _taken(path, name)
    _remove(path, found.st_ino)


def _taken(path: str, name: str) -> AddressTaken:
    inodes = {one.inode for one in unix_diag.listening(path)}
    who = describe_holders(inodes) or "a process that this user may not inspect"
    error = AddressTaken(
        f"listener {name!r}: another process listens on unix:{path}: {who}. {ending(inodes)}, or"
        " give this instance another address"
    )
    error.inodes = frozenset(inodes)
    return error


def _bound(listen: Listen, path: str) -> socket.socket:
    """Bind and listen. Owner and mode are set before the first client can connect.

    Raises OSError, ListenFailed.
    """
    owner = _id(listen, "socket_user", listen.socket_user, lambda name: pwd.getpwnam(name).pw_uid)
    group = _id(listen, "socket_group", listen.socket_group, lambda name: grp.getgrnam(name).gr_gid)
    with unix_socket(socket.SOCK_STREAM) as sock:
        bind(sock, path, listen.socket_mode)
        if (owner, group) != (-1, -1):  # a sandbox may forbid even the call that changes nothing
            with _file_of(sock, path) as own:
                os.chown(own, owner, group)
        sock.listen(listen.backlog)
    return sock


@contextmanager
def _file_of(sock: socket.socket, path: str) -> Iterator[str]:
    """Yield a path to the file that was bound: `path` may lead elsewhere by now. Raises OSError."""
    file = unix_diag.binding(os.fstat(sock.fileno()).st_ino).file
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        same = file is not None and found.st_ino & INODE_BITS == file[0]
        if not same or not stat.S_ISSOCK(found.st_mode):
            raise FileExistsError(errno.EEXIST, "another program has put its own file there")
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _id(listen: Listen, key: str, name: str | None, find: Callable[[str], int]) -> int:
    """Return the user's or group's number for chown; -1 leaves it unchanged."""
    if name is None:
        return -1
    try:
        return int(name) if name.isdecimal() else find(name)
    except KeyError:
        raise ListenFailed(
            f"listener {listen.name!r}: {key}: this machine has no {key.removeprefix('socket_')}"
            f" {name!r}"
        ) from None


def _advice(error: OSError, path: str) -> str:
    match error.errno:
        case errno.ENOENT:
            return f"Create the directory {Path(path).parent}, such as with RuntimeDirectory="
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "This user may not create the socket there, or may not give it to that owner"
    return "Check the address in [[listen]]"


def _remove(path: str, file: int) -> None:
    """Remove the path if it is still this file. `file`: its inode, or the low 32 bits of it."""
    try:
        if Path(path).lstat().st_ino & INODE_BITS == file & INODE_BITS:
            Path(path).unlink()
    except FileNotFoundError:
        pass
