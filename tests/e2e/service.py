"""An instance under a real systemd, as an operator has it: from the package, by its commands."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from examples.load.clients import HeldClient, HeldVerdict, StormClient
from examples.load.storm import Note
from examples.load.verdict import Cutover, StormVerdict, judge
from examples.load.waiting import HANG_SECONDS, wait_until
from tests.e2e.machine import Machine
from wssupervisor.commands.init_account import own_user
from wssupervisor.control.client import Client
from wssupervisor.errors import NotRunning, WssError

WORKER = Path(__file__).parents[1] / "harness/workers/serving.py"
HOST = "127.0.0.1"
ANSWERS_WITHIN = 60.0
FIRST_ANSWERS = 20
LOOK_EVERY = 0.05

QUICK = """
[ready]
stable = "100ms"
timeout = "20s"
[drain]
keep = "0s"
[stop]
timeout = "3s"
kill_after = "2s"
"""
"""What tests add to a configuration that `wssctl init` wrote: short times."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one load: `broken` of those held, `lost` of the new ones."""

    held: int
    broken: int
    new: int
    lost: int
    misrouted: int


@dataclass(slots=True)
class Clients:
    """Held and new clients around what a test does; it must end them with one of the asserts."""

    held: HeldClient
    storm: StormClient
    record: Callable[[Counts], None]

    def more(self, count: int, within: float = HANG_SECONDS) -> None:
        """Wait until `count` more new connections have been answered."""
        self.storm.wait_answered(count, within)

    def wait_begun(self, count: int) -> None:
        """Wait until `count` more have been tried, answered or not."""
        goal = self.storm.begun + count
        wait_until(
            lambda: self.storm.begun >= goal,
            what=f"{count} more new connections",
        )

    def finish(self, cutovers: Sequence[Cutover] = ()) -> tuple[StormVerdict, HeldVerdict]:
        notes, held = self.storm.finish(), self.held.finish()
        return self._judge(notes, held, cutovers), held

    def _judge(
        self, notes: Sequence[Note], held: HeldVerdict, cutovers: Sequence[Cutover]
    ) -> StormVerdict:
        verdict = judge(notes, cutovers)
        counts = Counts(
            held.count, len(held.broken), verdict.total, verdict.lost, verdict.misrouted
        )
        print(f"storm: {verdict}\nheld:  {held}")
        self.record(counts)
        return verdict

    def assert_unnoticed(self, cutovers: Sequence[Cutover] = ()) -> None:
        """Not one client was lost, broken or misrouted."""
        verdict, held = self.finish(cutovers)
        assert (verdict.lost, verdict.reasons, verdict.misrouted) == (0, {}, 0)
        assert held.broken == ()
        assert held.wrong == 0
        assert sum(held.by_worker.values()) == held.count

    def assert_only_held_are_gone(self, cutovers: Sequence[Cutover] = ()) -> None:
        """After a restart: connected clients are gone, new ones were served."""
        verdict, held = self.finish(cutovers)
        assert (verdict.lost, verdict.reasons, verdict.misrouted) == (0, {}, 0)
        assert len(held.broken) == held.count


@dataclass(slots=True)
class Service:
    """Instance `name`; releases are directories below /srv/NAME/releases."""

    machine: Machine
    record: Callable[[Counts], None]
    name: str = "chat"
    port: int = 8765
    workers: int = 2
    user: str | None = None
    cutovers: list[Cutover] = field(default_factory=list)

    @property
    def service(self) -> str:
        return f"wssupervisor@{self.name}.service"

    @property
    def socket(self) -> str:
        return f"wssupervisor@{self.name}.socket"

    @property
    def account(self) -> str:
        """The user that it runs as."""
        return self.user or own_user(self.name)

    @property
    def config(self) -> str:
        return f"/etc/wssupervisor/{self.name}.toml"

    # -- releases and configuration

    def release(self, name: str, variant: str = "well", script: str | None = None) -> None:
        """Install a release and make it the current one; `script` instead of the usual worker."""
        place = f"/srv/{self.name}/releases/{name}"
        own = WORKER.with_name(f"{variant}.py")
        app = own if own.exists() else WORKER
        self.machine.write(f"{place}/app.py", app.read_text())
        text = script or f"#!/bin/sh\nexec python3 {place}/app.py {variant}\n"
        self.machine.write(f"{place}/run", text, 0o755)
        self.switch(name)

    def switch(self, name: str) -> None:
        place = f"/srv/{self.name}"
        self.machine.run("ln", "-sfn", f"{place}/releases/{name}", f"{place}/current")

    def init(self, *options: str, extra: str = QUICK) -> None:
        user = ("--user", self.user) if self.user else ()
        self.machine.run(
            *("wssctl", "init", self.name, "--listen", f"{HOST}:{self.port}"),
            *("--command", f"/srv/{self.name}/current/run"),
            *("--directory", f"/srv/{self.name}/current"),
            *("--workers", str(self.workers), *user, *options),
        )
        self.configure(extra)

    def configure(self, extra: str) -> None:
        """Append to the configuration, which stays as private as it is."""
        self.machine.write(self.config, self.machine.read(self.config) + extra, 0o640)

    def drop_in(self, unit: str, name: str, text: str) -> None:
        self.machine.write(f"/etc/systemd/system/{unit}.d/{name}.conf", text)

    def start(self) -> None:
        """As `wssctl init` says."""
        self.machine.systemctl("enable", "--now", self.socket, self.service)
        self.wait_serving()

    # -- the instance

    def systemctl(
        self, verb: str, *, check: bool = True, within: float = 60.0
    ) -> CompletedProcess[str]:
        return self.machine.systemctl(verb, self.service, check=check, within=within)

    def ctl(
        self, *words: str, check: bool = True, user: str | None = None
    ) -> CompletedProcess[str]:
        return self.machine.run("wssctl", "-i", self.name, *words, check=check, user=user)

    def ask(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """The daemon, from outside the machine: without a process for each question.

        Raises WssError.
        """
        try:
            # A path of a socket has at most 107 bytes, and a name may have 64.
            place = os.open(self.machine.root / "run/wssupervisor" / self.name, os.O_PATH)
        except FileNotFoundError as error:
            raise NotRunning(str(error)) from None
        try:
            return Client(f"/proc/self/fd/{place}/control.sock").call(method, params, on_event)
        finally:
            os.close(place)

    def status(self) -> dict[str, Any]:
        """What `wssctl status --json` prints."""
        return self.ask("status")

    def wait_serving(self, within: float = HANG_SECONDS) -> None:
        def serves() -> bool:
            try:
                return bool(self.status()["state"] == "serving")
            except WssError:
                return False

        wait_until(serves, within=within, what=f"{self.name} to serve", every=LOOK_EVERY)

    def active(self) -> int:
        """Number of the active generation."""
        numbers = [one["number"] for one in self.status()["generations"] if _active(one)]
        assert len(numbers) == 1
        return int(numbers[0])

    def worker_pids(self) -> list[int]:
        """Of the active generation, as seen in the machine."""
        return sorted(
            worker["pid"]
            for one in self.status()["generations"]
            if _active(one)
            for worker in one["workers"]
            if not worker["sweeper"]
        )

    def main_pid(self) -> int:
        """Of the daemon, as seen in the machine."""
        return int(self.machine.show(self.service, "MainPID"))

    def reload(self) -> Cutover:
        """`systemctl reload`, which must succeed."""
        self.systemctl("reload")
        events: list[dict[str, Any]] = []
        self.ask("events", {"follow": False}, events.append)
        last = [event["note"] for event in events if event["note"]["kind"] == "cutover"][-1]
        found = Cutover(last["monotonic"], last["generation"], last["monotonic_begun"])
        self.cutovers.append(found)
        return found

    def wait_connections(self, generation: int, count: int, within: float = 30.0) -> None:
        """Until a census has counted them: what a look finds may be a little old."""

        def counted() -> bool:
            found = {one["number"]: one["connections"] for one in self.status()["generations"]}
            return found.get(generation) == count

        wait_until(counted, within=within, what=f"{count} connections", every=LOOK_EVERY)

    def wait_alone(self, within: float = 30.0) -> None:
        """Until no old generation is left."""
        wait_until(
            lambda: len(self.status()["generations"]) == 1,
            within=within,
            what="the end of the drain",
            every=LOOK_EVERY,
        )

    def journal(self, *options: str) -> list[dict[str, Any]]:
        """Entries of the unit, as journalctl's JSON."""
        text = self.machine.journal(f"--unit={self.service}", "--output=json", "--all", *options)
        return [json.loads(line) for line in text.splitlines()]

    def wait_said(self, generation: int, *lines: str) -> list[dict[str, Any]]:
        """Until workers of that generation have said all these lines; all that they said."""

        def said() -> list[dict[str, Any]]:
            return self.journal(f"WSS_GENERATION={generation}")

        wait_until(
            lambda: set(lines) <= {entry["MESSAGE"] for entry in said()},
            what=f"{lines} in the journal",
            every=0.2,
        )
        return said()

    # -- clients

    def storm(self, rate: float = 150.0, timeout: float = ANSWERS_WITHIN) -> StormClient:
        return StormClient(
            self.machine.directory,
            HOST,
            self.port,
            self.machine.network,
            websocket=True,
            rate=rate,
            timeout=timeout,
        )

    def hold(self, count: int = 20, rooms: int = 0) -> HeldClient:
        """`rooms`: clients per room, with a server that has rooms."""
        return HeldClient(
            self.machine.directory, HOST, self.port, count, self.machine.network, rooms=rooms
        )

    @contextmanager
    def load(self, *, held: int = 20, rate: float = 150.0) -> Iterator[Clients]:
        """Held clients that are open, and a stream of new WebSockets that is answered."""
        with self.hold(held) as holding, self.storm(rate) as storm:
            around = Clients(holding.wait_open(), storm, self.record)
            around.more(FIRST_ANSWERS)
            yield around


def _active(generation: dict[str, Any]) -> bool:
    return bool(generation["state"] == "active")
