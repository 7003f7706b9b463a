"""The demo: deploy a chat server five times, one release of which is broken, under load.

    python examples/demo.py [--keep]

Exits with 1 if a connection broke, failed or was misrouted.
"""

import argparse
import importlib.util
import json
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

# When run as a file: make the `examples` package importable from any directory.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.demo_screen import BOLD, GREEN, RED, Screen
from examples.demo_stage import ANSWER_WITHIN, HOST, WORKERS, DemoFailed, Stage
from examples.load.clients import ClientFailed, HeldClient, StormClient
from examples.load.verdict import Cutover, judge
from examples.load.waiting import NotInTime

RELOADS = 5
BROKEN_RELOAD = 3
NEXT_RELEASE = RELOADS + 2
CLIENTS = 100  # join before some reloads, so that old generations have connections to drain
ARRIVALS = (1, 2, 4)
VISITORS_PER_SECOND = 60.0
PAUSE = 2.0
LOOK_EVERY = 0.1
SHOWN_LINES = 2  # the last lines of the worker: the exception
NEEDED = {
    "websockets": "websockets",
    "psutil": "psutil",
    "structlog": "structlog",
    "systemd": "systemd-python",
}


@dataclass(slots=True)
class Show:
    """The state of the demo: clients, cutovers, and what went wrong."""

    stage: Stage
    screen: Screen
    directory: Path
    visitors: StormClient
    crowds: list[HeldClient] = field(default_factory=list)
    cutovers: list[Cutover] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)

    def numbers(self) -> str:
        held = sum(crowd.opened for crowd in self.crowds)
        broken = sum(crowd.bad for crowd in self.crowds)
        echoes = sum(crowd.echoes for crowd in self.crowds)
        return (
            f"held {held}, broken {broken}, messages {echoes} | "
            f"new {self.visitors.answered}, failed {self.visitors.lost}"
        )

    def watch(self, seconds: float) -> None:
        """Show the numbers for a while. This only sets the pace; it waits for no condition."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            self.screen.live(self.numbers())
            time.sleep(LOOK_EVERY)

    def arrive(self, stack: ExitStack) -> None:
        crowd = HeldClient(
            self.directory,
            HOST,
            self.stage.port,
            CLIENTS,
            rooms=4,
            name=f"crowd{len(self.crowds)}",
            interval=1.0,
        )
        self.crowds.append(stack.enter_context(crowd))
        crowd.wait_open(ANSWER_WITHIN)
        self.screen.event(f"{CLIENTS} clients join the chat and send messages")

    def reload(self, number: int) -> None:
        """Deploy release `number` + 1, which is broken for one of the numbers."""
        broken = number == BROKEN_RELOAD
        release = number + 1
        self.stage.install(release, broken=broken)
        self.stage.switch(release)
        what = "broken (it cannot be imported)" if broken else "good"
        self.screen.event(f"reload {number}: release {release}, {what}", BOLD)
        begun = time.monotonic()
        answer = self.stage.ask("reload", "--json")
        seconds = time.monotonic() - begun
        if answer.status == 0:
            document = json.loads(answer.out)
            generation = int(document["generation"])
            self.cutovers.append(Cutover.from_verdict(document))
            text = f"cut over to generation {generation} after {seconds:.1f} s"
            self.screen.event(text, RED if broken else GREEN)
        else:
            self.screen.event(
                f"failed after {seconds:.1f} s, exit status {answer.status}:",
                GREEN if broken else RED,
            )
            reason, *said = answer.err.strip().splitlines()
            for line in (reason, *said[-SHOWN_LINES:]):
                self.screen.detail(line)
        if broken == (answer.status == 0):
            self.surprises.append(f"reload {number} should have {'failed' if broken else 'worked'}")
        if broken and answer.status != 0:
            self.stage.switch(release - 1)

    def finish(self) -> bool:
        """End all clients and print the table. Returns whether no connection was harmed."""
        storm = judge(self.visitors.finish(), self.cutovers)
        crowds = [crowd.finish() for crowd in self.crowds]
        broken = sum(len(crowd.broken) + crowd.wrong for crowd in crowds)
        held = sum(crowd.count for crowd in crowds)
        echoes = sum(crowd.echoes for crowd in crowds)
        self.screen.line()
        self.screen.table(
            [
                ("measured over 5 reloads", "count", "broken", "failed", "misrouted"),
                ("held connections", str(held), str(broken), "-", "-"),
                ("new connections", str(storm.total), "-", str(storm.lost), str(storm.misrouted)),
            ],
            [broken > 0, storm.lost > 0 or storm.misrouted > 0],
        )
        self.screen.line()
        self.screen.line(
            f"  {echoes} messages were echoed. New connections were answered after "
            f"{storm.median * 1000:.0f} ms\n  (median), {storm.p99 * 1000:.0f} ms (99%), "
            f"{storm.slowest * 1000:.0f} ms (slowest)."
        )
        for reason, count in storm.reasons.items():
            self.surprises.append(f"{count} new connections: {reason}")
        for crowd in crowds:
            self.surprises += sorted({f"held connection: {one.reason}" for one in crowd.broken})
        for surprise in self.surprises:
            self.screen.line(self.screen.paint(f"  {surprise}", RED))
        return broken + storm.lost + storm.misrouted == 0 and not self.surprises


def what_is_missing() -> str | None:
    if not sys.platform.startswith("linux"):
        return f"wssupervisor runs on Linux only; this is {sys.platform}."
    absent = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if absent:
        return (
            f"This Python ({sys.executable}) lacks {', '.join(absent)}.\n"
            "Run ./dev demo, which installs them, or pip install the project first."
        )
    if shutil.which("sh") is None:
        return "There is no `sh` on the PATH. Install it: wssupervisor starts workers with it."
    return None


def print_what_to_try(screen: Screen, stage: Stage) -> None:
    place = stage.directory
    commands = [
        ("show which generation has which connections", [f"{stage.wssctl} status"]),
        (
            f"deploy a release ({NEXT_RELEASE} is good, {BROKEN_RELOAD + 1} is broken)",
            [f"ln -sfn releases/{NEXT_RELEASE} {place}/current", f"{stage.wssctl} reload"],
        ),
        ("kill a worker; the supervisor replaces it", [f"kill -9 {stage.active_pids()[0]}"]),
        ("follow the events", [f"{stage.wssctl} events --follow"]),
        ("join the chat", [f"{sys.executable} -m websockets ws://{HOST}:{stage.port}/room0"]),
        ("stop it and remove its files", [f"{stage.wssctl} stop && rm -r {place}"]),
    ]
    screen.line()
    screen.title(f"The server is still running, with {CLIENTS} clients. Try:")
    for text, lines in commands:
        screen.line()
        screen.line(f"  # {text}")
        for line in lines:
            screen.line(f"  {line}")


def keep(screen: Screen, stage: Stage) -> None:
    """Leave the daemon and some clients running. The clients end when the daemon is stopped."""
    clients = HeldClient(
        stage.directory, HOST, stage.port, CLIENTS, rooms=4, name="guest", until_gone=True
    )
    clients.wait_open(ANSWER_WITHIN)
    clients.detach()
    stage.install(NEXT_RELEASE)
    print_what_to_try(screen, stage)
    stage.leave_running()


def play(screen: Screen, stage: Stage) -> bool:
    """Run from the first start to the table. Returns whether no connection was harmed."""
    stage.install(1)
    stage.switch(1)
    screen.event(f"starting release 1 with {WORKERS} workers")
    stage.start(lambda: screen.live("waiting until it serves"))
    pids = " and ".join(str(pid) for pid in stage.active_pids())
    screen.event(f"generation 1 is serving ws://{HOST}:{stage.port} (processes {pids})", GREEN)
    with ExitStack() as stack:
        visitors = stack.enter_context(
            StormClient(
                stage.directory,
                HOST,
                stage.port,
                websocket=True,
                path="/visitors",
                rate=VISITORS_PER_SECOND,
            )
        )
        show = Show(stage, screen, stage.directory, visitors)
        screen.event(f"{VISITORS_PER_SECOND:.0f} new connections a second")
        for number in range(1, RELOADS + 1):
            if number in ARRIVALS:
                show.arrive(stack)
            show.watch(PAUSE)
            show.reload(number)
        show.watch(PAUSE)
        screen.event("old generations drain while they have connections; wssctl status:")
        screen.line()
        for line in stage.ask("status").out.rstrip().splitlines():
            screen.line(f"  {line}")
        return show.finish()


def interrupt(number: int, _frame: FrameType | None) -> None:
    """Clean up after SIGTERM and SIGHUP as after Ctrl-C."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    parser = argparse.ArgumentParser(description="deploy a chat server five times under load")
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    arguments = parser.parse_args()
    if (missing := what_is_missing()) is not None:
        print(missing, file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    screen = Screen()
    screen.title("wssupervisor: deploying a chat server five times under load")
    screen.line()
    stage = Stage()
    kept = False
    try:
        good = play(screen, stage)
        if arguments.keep:
            keep(screen, stage)
            kept = True
    except (DemoFailed, ClientFailed, NotInTime) as error:
        screen.line(screen.paint(f"The demo failed: {error}", RED))
        good = False
    except KeyboardInterrupt:
        screen.line("interrupted")
        good = False
    finally:
        status = 0 if kept else stage.clear()
    if status != 0:
        screen.line(screen.paint(f"The supervisor exited with status {status}.", RED))
    screen.line()
    return 0 if good and status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
