"""Listening sockets at start: from systemd or bound, after ending what an earlier run left."""

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TypeVar

import structlog

from wssupervisor.config.model import Config, Listen, Mode, UnixAddress
from wssupervisor.errors import AddressTaken, ListenFailed, SocketsMissing, SteeringRefused
from wssupervisor.fleet.model import SlotId
from wssupervisor.runtime.kernel import descent, pidfd
from wssupervisor.runtime.kernel.private_tmp import is_private
from wssupervisor.runtime.kernel.procfs import start_time
from wssupervisor.runtime.listeners.holders import abandoned, left_in_cgroup, leftovers
from wssupervisor.runtime.listeners.pool import Pool
from wssupervisor.runtime.listeners.steering import Steering
from wssupervisor.runtime.listeners.tcp_pool import TcpPool, adopt, bind_pool
from wssupervisor.runtime.listeners.unix_pool import adopt_unix, bind_unix
from wssupervisor.runtime.systemd import Passed

log = structlog.get_logger()

LOOK_SECONDS = 0.02


def acquired(
    config: Config, passed: Sequence[Passed], before: AbstractSet[SlotId] = frozenset()
) -> list[Pool]:
    """Return the pools of all configured listeners. Raises ListenFailed or a subclass.

    `before`: slots of a dead supervisor of this instance. Its processes that hold any are ended.
    """
    pools: list[Pool] = []
    try:
        by_name: dict[str, list[int]] = {}
        for given in passed:
            name = _listener_name(config, given.name)
            by_name.setdefault(name, []).append(given.descriptor)
        for listen in config.listeners:
            try:
                if listen.name in by_name:
                    pools.append(_adopted(config, listen, by_name.pop(listen.name), before))
                else:
                    pools.append(_bound(config, listen, passed, before))
            except AddressTaken as error:
                _blame_ourselves(error, listen, pools)
                raise
        _refuse_unused(config, by_name)
    except BaseException:
        for pool in pools:
            pool.close()
        raise
    return pools


def _blame_ourselves(error: AddressTaken, listen: Listen, pools: Sequence[Pool]) -> None:
    """Raises ListenFailed if another listener of this instance has the address."""
    for pool in pools:
        if error.inodes & {slot.inode for slot in pool.slots}:
            raise ListenFailed(
                f"listener {listen.name!r}: its address overlaps with {pool.address} of listener"
                f" {pool.name!r} of this instance. An IPv6 socket on all addresses also accepts"
                " IPv4 clients: remove one of the listeners, or set BindIPv6Only=ipv6-only in the"
                " socket unit of the IPv6 one"
            ) from error


def _listener_name(config: Config, given: str) -> str:
    """Return the listener's name: an only listener also gets sockets with another name, such as
    their unit's, which systemd uses without FileDescriptorName=."""
    names = [one.name for one in config.listeners]
    if given not in names and len(names) == 1:
        return names[0]
    return given


def _refuse_unused(config: Config, unused: dict[str, list[int]]) -> None:
    if unused:
        known = ", ".join(repr(one.name) for one in config.listeners)
        raise ListenFailed(
            f"systemd passed sockets named {', '.join(map(repr, unused))}, but the listeners are"
            f" {known}. Use the same names in FileDescriptorName= and [[listen]]"
        )


def _adopted(
    config: Config, listen: Listen, descriptors: list[int], before: AbstractSet[SlotId]
) -> Pool:
    def take() -> Pool:
        pool = _adopt(listen, [os.dup(descriptor) for descriptor in descriptors])
        try:
            pool.check_alone()
        except AddressTaken:
            pool.close()
            raise
        return pool

    pool = _after_leftovers(config, take, before)
    # The sockets outlived the previous supervisor; its workers may still accept from them.
    own = frozenset(slot.inode for slot in pool.slots)
    left = descent.holding(own & before).union(abandoned(own, config.name))
    _end(sorted(left), config.stop.kill_after)
    for descriptor in descriptors:
        os.close(descriptor)
    _say_deferred(pool)
    if listen.address is not None and str(listen.address) != pool.address:
        pool.close()
        raise ListenFailed(
            f"listener {listen.name!r}: the socket unit listens on {pool.address}, but [[listen]]"
            f" address is {listen.address}. Make them equal, or remove address"
        )
    try:
        _check_steerable(pool)
    except SteeringRefused as error:
        pool.close()
        raise SteeringRefused(
            f"{error}. For shared mode, remove ReusePort= from the socket unit and list its address"
            " once"
        ) from error
    return pool


def _adopt(listen: Listen, descriptors: list[int]) -> Pool:
    """Make a pool of systemd's sockets, which owns them. Raises ListenFailed, SteeringRefused."""
    if _is_unix(descriptors[0]):
        if len(descriptors) > 1:
            for descriptor in descriptors:
                os.close(descriptor)
            raise ListenFailed(
                f"listener {listen.name!r}: systemd passed {len(descriptors)} sockets of that name,"
                " but an AF_UNIX socket must be the only one"
            )
        return adopt_unix(listen.name, descriptors[0])
    pool = adopt(listen.name, descriptors, listen.mode)
    if pool.why_shared is None:
        pool.why_shared = listen.why_shared
    return pool


def _say_deferred(pool: Pool) -> None:
    """Warn of TCP_DEFER_ACCEPT, which hides waiting clients: it is switched off on every slot."""
    if not isinstance(pool, TcpPool) or not any(slot.defers() for slot in pool.slots):
        return
    by_unit = all(slot.defers() for slot in pool.slots)
    log.warning(
        "TCP_DEFER_ACCEPT is switched off: it hides clients that wait for a worker",
        listener=pool.name,
        advice=(
            "remove DeferAcceptSec= from the socket unit"
            if by_unit
            else "a worker of an earlier run left it on some slots; no action is needed"
        ),
    )
    for slot in pool.slots:
        slot.show_clients()


def _is_unix(descriptor: int) -> bool:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            return sock.family == socket.AF_UNIX
    except OSError:
        return False  # not a socket: `adopt` reports it


def _check_steerable(pool: Pool) -> None:
    """Raises SteeringRefused if the kernel or a sandbox refuses the program."""
    if isinstance(pool, TcpPool) and len(pool.slots) > 1:
        Steering(pool).attach({pool.slots[-1].inode: 1})


def _bound(
    config: Config, listen: Listen, passed: Sequence[Passed], before: AbstractSet[SlotId]
) -> Pool:
    address = listen.address
    if address is None:
        raise SocketsMissing(_why_missing(config.name, listen.name, passed))
    if isinstance(address, UnixAddress):
        if is_private(address.path):
            log.warning(
                "nothing outside of this service can reach a listener",
                listener=listen.name,
                address=str(address),
                advice=f"its /tmp is private (PrivateTmp=): use /run/wssupervisor/{config.name}",
            )
        return _after_leftovers(config, lambda: bind_unix(listen), before)
    bind = partial(
        bind_pool,
        listen.name,
        address.family,
        address.host,
        address.port,
        count=config.slots_wanted(),
        backlog=listen.backlog,
    )
    pool = _after_leftovers(config, lambda: bind(why_shared=listen.why_shared), before)
    try:
        pool.check_alone()
        _check_steerable(pool)
    except SteeringRefused as error:
        pool.close()
        if listen.mode is Mode.STEERED:
            raise
        return bind(why_shared=str(error))
    except AddressTaken:
        pool.close()
        raise
    return pool


def _why_missing(instance: str, listener: str, passed: Sequence[Passed]) -> str:
    got = ", ".join(sorted({repr(one.name) for one in passed})) or "nothing"
    begin = f"listener {listener!r} has no address and systemd passed {got} for it"
    address = f"[[listen]] address (or --listen {listener}=ADDRESS)"
    if passed or "INVOCATION_ID" not in os.environ:
        return f"{begin}. Set {address}, or FileDescriptorName= in the socket unit"
    unit = f"wssupervisor@{instance}"
    return (
        f"{begin}: its socket unit is not active. Start both with: systemctl start {unit}.socket"
        f" {unit}.service (Requires={unit}.socket in a drop-in of the service does that from then"
        f" on). Without a socket unit, set {address}"
    )


P = TypeVar("P", bound=Pool)


def _after_leftovers(config: Config, take: Callable[[], P], before: AbstractSet[SlotId]) -> P:
    """Call `take`; if the address is taken by workers of a dead supervisor, end them and retry."""
    try:
        return take()
    except AddressTaken as error:
        pids = leftovers(error.inodes, config.name)
        if not pids and error.inodes <= before:
            pids = sorted(descent.holding(error.inodes))
        if not pids:
            raise
    _end(pids, config.stop.kill_after)
    return take()


def end_leftovers(config: Config) -> None:
    """In a service: end processes that a dead supervisor's workers left in our control group."""
    left = descent.left_by_earlier_runs().union(left_in_cgroup(config.name))
    _end(sorted(left), config.stop.kill_after)


def _end(pids: Sequence[int], kill_after: float) -> None:
    """End workers of a dead supervisor and wait: SIGTERM, SIGKILL after `kill_after` seconds."""
    if not pids:
        return
    log.warning("ending workers that a dead supervisor left behind", pids=pids)
    started = {pid: start_time(pid) for pid in pids}
    for number, patience in ((signal.SIGTERM, kill_after), (signal.SIGKILL, kill_after + 1)):
        until = time.monotonic() + patience
        for pid in _alive(started):
            pidfd.send(pid, started[pid], number)
        while _alive(started) and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)


def _alive(started: dict[int, int | None]) -> list[int]:
    return [pid for pid, at in started.items() if at is not None and start_time(pid) == at]
