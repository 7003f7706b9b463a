"""Random deeds of operators, bad releases and bad luck, one after another."""

import itertools
import json
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from examples.load.verdict import Cutover
from examples.load.waiting import HANG_SECONDS
from tests.harness.census import send
from tests.harness.daemon import Daemon
from tests.soak.account import Deeds

STOPPED_SECONDS = (0.5, 4.0)
WORKERS_MAX = 4
CANCEL_AFTER = (0.0, 0.6)
BAD = ("fails_at_once", "half_second", "exit_zero", "never_ready", "ready_then_dead")
FAILED, BUSY, INTERRUPTED = 1, 75, 130


class Unexpected(AssertionError):
    """The instance did something that it must not do."""


class Mischief:
    """Does deeds to one daemon, and records what they may have cost."""

    def __init__(self, daemon: Daemon, seed: int) -> None:
        self.deeds = Deeds()
        self.counts: dict[str, int] = {}
        self._daemon = daemon
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._stopped: dict[int, float] = {}
        """Stopped pids, and when each continues."""

    def begin_round(self) -> None:
        now = time.monotonic()
        self.deeds = Deeds([Cutover(now, self._daemon.active(), now)])

    def do_one(self) -> str:
        """Do one deed. Returns its name."""
        kinds: list[tuple[int, Callable[[], None]]] = [
            (6, self._good_reload),
            (3, self._bad_reload),
            (2, self._cancelled_reload),
            (2, self._reload_under_fire),
            (3, self._roll_back),
            (3, self._scale),
            (4, self._kill),
            (3, self._stop_for_a_while),
            (1, self._cut_a_drain_short),
            (1, self._pause_and_resume),
            (3, self._upgrade),
            (3, self._upgrade_during_a_reload),
            (2, self._death),
            (2, self._death_during_a_reload),
        ]
        weights = [weight for weight, _ in kinds]
        ((_, deed),) = self._random.choices(kinds, weights)
        deed()
        name = deed.__name__.strip("_").replace("_", " ")
        self.counts[name] = self.counts.get(name, 0) + 1
        self.wake(time.monotonic())
        return name

    def wake(self, until: float = float("inf")) -> None:
        """Continue stopped processes whose time has come."""
        for pid, at in list(self._stopped.items()):
            if at <= until:
                del self._stopped[pid]
                with suppress(ProcessLookupError):
                    send(pid, signal.SIGCONT)

    # -- reloads ------------------------------------------------------------------------------

    def _install(self, variant: str) -> None:
        self._daemon.settings.releases.install(f"r{next(self._numbers)}", variant)

    def _reload(self, *options: str) -> bool:
        answer = self._daemon.ctl("reload", "--json", *options)
        if answer.status == 0:
            self.deeds.cutovers.append(Cutover.from_verdict(answer.document))
        elif answer.status != FAILED:
            raise Unexpected(f"reload: {answer}")
        return answer.status == 0

    def _good_reload(self) -> None:
        self._install("well")
        before = self._draining()
        if not self._reload("--make-room"):
            raise Unexpected(f"a good reload failed: {self._daemon.status()['last_reload']}")
        for number in self._hurried() & before.keys():
            self.deeds.ended |= before[number]

    def _bad_reload(self) -> None:
        variant = self._random.choice(BAD)
        before = self._daemon.active()
        self._install(variant)
        if self._reload():
            raise Unexpected(f"the bad release {variant} was accepted")
        if self._daemon.active() != before:
            raise Unexpected("a failed reload changed the active generation")

    def _cancelled_reload(self) -> None:
        self._install("well")
        with self._daemon.launch_ctl("reload", "--json") as ctl:
            time.sleep(self._random.uniform(*CANCEL_AFTER))
            ctl.send_signal(signal.SIGINT)
            out, err = ctl.communicate(timeout=HANG_SECONDS)
        self._judge(ctl.returncode, out, err)

    def _reload_under_fire(self) -> None:
        """Kill at any moment. Either verdict is right, but it must be true."""
        self._install("well")
        with self._daemon.launch_ctl("reload", "--json") as ctl:
            self._kill()
            out, err = ctl.communicate(timeout=HANG_SECONDS)
        self._judge(ctl.returncode, out, err)

    def _judge(self, status: int, out: str, err: str) -> None:
        if status == 0:
            self.deeds.cutovers.append(Cutover.from_verdict(json.loads(out)))
            return
        if status not in (FAILED, INTERRUPTED, -signal.SIGINT):
            raise Unexpected(f"reload ended with {status}: {err}")
        active = self._daemon.active()
        if active != self.deeds.cutovers[-1].generation:
            raise Unexpected(f"generation {active} is active after a reload that failed: {err}")

    def _roll_back(self) -> None:
        answer = self._daemon.ctl("rollback", "--json")
        if answer.status == 0:
            self.deeds.cutovers.append(Cutover.from_verdict(answer.document))
        elif answer.status != FAILED:
            raise Unexpected(f"rollback: {answer}")

    # -- workers ------------------------------------------------------------------------------

    def _scale(self) -> None:
        count = self._random.randint(1, WORKERS_MAX)
        answer = self._daemon.ctl("scale", str(count))
        if answer.status != 0:
            raise Unexpected(f"scale: {answer}")

    def _kill(self) -> None:
        pids = [one.pid for one in self._daemon.workers()]
        if not pids:
            return
        pid = self._random.choice(pids)
        self.deeds.ended.add(pid)
        self._stopped.pop(pid, None)
        with suppress(ProcessLookupError):
            self.deeds.kills.append(time.monotonic())
            send(pid, signal.SIGKILL)
            self.deeds.kills.append(time.monotonic())

    def _stop_for_a_while(self) -> None:
        pids = [one.pid for one in self._daemon.workers() if one.pid not in self._stopped]
        if not pids:
            return
        pid = self._random.choice(pids)
        with suppress(ProcessLookupError):
            send(pid, signal.SIGSTOP)
            self._stopped[pid] = time.monotonic() + self._random.uniform(*STOPPED_SECONDS)

    # -- drains -------------------------------------------------------------------------------

    def _upgrade(self) -> None:
        answer = self._daemon.ctl("upgrade")
        if answer.status != 0:
            raise Unexpected(f"upgrade: {answer}")

    def _upgrade_during_a_reload(self) -> None:
        self._install("well")
        with self._daemon.launch_ctl("reload", "--json") as ctl:
            time.sleep(self._random.uniform(*CANCEL_AFTER))
            self._upgrade()
            out, err = ctl.communicate(timeout=HANG_SECONDS)
        self._judge(ctl.returncode, out, err)

    def _death(self) -> None:
        self._daemon.die()
        self._daemon.start()

    def _death_during_a_reload(self) -> None:
        self._install("well")
        with self._daemon.launch_ctl("reload", "--json") as ctl:
            time.sleep(self._random.uniform(*CANCEL_AFTER))
            self._death()
            out, err = ctl.communicate(timeout=HANG_SECONDS)
        self._judge(ctl.returncode, out, err)

    def _draining(self) -> dict[int, set[int]]:
        """Pids by generation."""
        return {
            shown["number"]: {one["pid"] for one in shown["workers"]}
            for shown in self._daemon.status()["generations"]
            if shown["state"] == "draining"
        }

    def _hurried(self) -> set[int]:
        """Generations that were ended early to make room."""
        answer = self._daemon.ctl("events", "--json")
        notes = [json.loads(line) for line in answer.out.splitlines()]
        return {note["generation"] for note in notes if note["kind"] == "drain-cut-short"}

    def _cut_a_drain_short(self) -> None:
        found = self._draining()
        if found:
            number = self._random.choice(sorted(found))
            self.deeds.ended |= found[number]
            self._daemon.ctl("drain", str(number), "--within", "0s")

    def _pause_and_resume(self) -> None:
        for number in self._draining():
            self._daemon.ctl("drain", str(number), "--pause")
            self._daemon.ctl("drain", str(number), "--resume")
