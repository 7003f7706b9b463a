"""The demo: a chat server is deployed five times, once badly, while people talk.

    python examples/demo.py [--keep]

Exits 1 if any connection was broken, failed or misrouted, by its own count.
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

# Run as a file: make the `examples` package importable, from wherever it was started.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.demo_screen import BOLD, GREEN, RED, Screen
from examples.demo_stage import HOST, WORKERS, DemoFailed, Stage
from examples.load.clients import ClientFailed, HeldClient, StormClient
from examples.load.verdict import Cutover, judge
from examples.load.waiting import NotInTime

RELOADS = 5
BROKEN_RELOAD = 3
NEXT_RELEASE = RELOADS + 2
PEOPLE = 100  # more arrive before each of the first reloads, so that generations drain with people
ARRIVALS = (1, 2, 4)
VISITORS_PER_SECOND = 60.0
PAUSE = 2.0
LOOK_EVERY = 0.1
SHOWN_LINES = 2  # of what the worker wrote last: the exception
NEEDED = {
    "websockets": "websockets",
    "psutil": "psutil",
    "structlog": "structlog",
    "systemd": "systemd-python",
}


@dataclass(slots=True)
class Show:
    """What has happened so far."""

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
        """Let things go on for a while; this is the pace of the show, not a wait for anything."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            self.screen.live(self.numbers())
            time.sleep(LOOK_EVERY)

    def arrive(self, stack: ExitStack) -> None:
        crowd = HeldClient(
            self.directory,
            HOST,
            self.stage.port,
            PEOPLE,
            rooms=4,
            name=f"crowd{len(self.crowds)}",
            interval=1.0,
        )
        self.crowds.append(stack.enter_context(crowd))
        crowd.wait_open()
        self.screen.event(f"{PEOPLE} people join the chat and talk")

    def reload(self, number: int) -> None:
        """Deploy release number + 1, the broken one among them."""
        broken = number == BROKEN_RELOAD
        release = number + 1
        self.stage.install(release, broken=broken)
        self.stage.switch(release)
        what = "which cannot even be imported" if broken else "which is fine"
        self.screen.event(f"reload {number}: release {release}, {what}", BOLD)
        begun = time.monotonic()
        answer = self.stage.ask("reload", "--json")
        seconds = time.monotonic() - begun
        if answer.status == 0:
            document = json.loads(answer.out)
            generation = int(document["generation"])
            self.cutovers.append(Cutover.from_verdict(document))
            text = f"generation {generation} gets all new connections, after {seconds:.1f} s"
            self.screen.event(text, RED if broken else GREEN)
        else:
            self.screen.event(
                f"refused after {seconds:.1f} s, exit status {answer.status}:",
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
        """End all clients, print the table; whether everything was as promised."""
        storm = judge(self.visitors.finish(), self.cutovers)
        crowds = [crowd.finish() for crowd in self.crowds]
        broken = sum(len(crowd.broken) + crowd.wrong for crowd in crowds)
        people = sum(crowd.count for crowd in crowds)
        echoes = sum(crowd.echoes for crowd in crowds)
        self.screen.line()
        self.screen.table(
            [
                ("measured over 5 reloads", "count", "broken", "failed", "misrouted"),
                ("held connections", str(people), str(broken), "-", "-"),
                ("new connections", str(storm.total), "-", str(storm.lost), str(storm.misrouted)),
            ],
            [broken > 0, storm.lost > 0 or storm.misrouted > 0],
        )
        self.screen.line()
        self.screen.line(
            f"  {echoes} messages came back. A new connection had its answer after "
            f"{storm.median * 1000:.0f} ms\n  (median), {storm.p99 * 1000:.0f} ms (99 of 100), "
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
        return f"wssupervisor runs on Linux; this is {sys.platform}."
    absent = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if absent:
        return (
            f"This Python ({sys.executable}) lacks {', '.join(absent)}.\n"
            "Run ./dev demo, which installs what is needed, or pip install the project first."
        )
    if shutil.which("sh") is None:
        return "There is no `sh` on the PATH; workers are started by it."
    return None


def print_what_to_try(screen: Screen, stage: Stage) -> None:
    place = stage.directory
    commands = [
        ("who serves whom", [f"{stage.wssctl} status"]),
        (
            f"deploy a release ({NEXT_RELEASE} is fine, {BROKEN_RELOAD + 1} is the broken one)",
            [f"ln -sfn releases/{NEXT_RELEASE} {place}/current", f"{stage.wssctl} reload"],
        ),
        ("kill a worker, and look how it is replaced", [f"kill -9 {stage.active_pids()[0]}"]),
        ("watch what happens", [f"{stage.wssctl} events --follow"]),
        ("join the chat", [f"{sys.executable} -m websockets ws://{HOST}:{stage.port}/room0"]),
        ("end it, and remove what it wrote", [f"{stage.wssctl} stop && rm -r {place}"]),
    ]
    screen.line()
    screen.title(f"It still runs, with {PEOPLE} people in the chat. Try:")
    for text, lines in commands:
        screen.line()
        screen.line(f"  # {text}")
        for line in lines:
            screen.line(f"  {line}")


def keep(screen: Screen, stage: Stage) -> None:
    """Leave the daemon and some people behind; they go when it is stopped."""
    people = HeldClient(
        stage.directory, HOST, stage.port, PEOPLE, rooms=4, name="guest", until_gone=True
    )
    people.wait_open()
    people.detach()
    stage.install(NEXT_RELEASE)
    print_what_to_try(screen, stage)
    stage.leave_running()


def play(screen: Screen, stage: Stage) -> bool:
    """From the first start to the table; whether everything was as promised."""
    stage.install(1)
    stage.switch(1)
    screen.event(f"the supervisor starts release 1 with {WORKERS} workers")
    stage.start(lambda: screen.live("waiting for it to serve"))
    pids = " and ".join(str(pid) for pid in stage.active_pids())
    screen.event(f"generation 1 serves ws://{HOST}:{stage.port} (processes {pids})", GREEN)
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
        screen.event(f"{VISITORS_PER_SECOND:.0f} others look in every second")
        for number in range(1, RELOADS + 1):
            if number in ARRIVALS:
                show.arrive(stack)
            show.watch(PAUSE)
            show.reload(number)
        show.watch(PAUSE)
        screen.event("the old generations live as long as their people stay; wssctl status:")
        screen.line()
        for line in stage.ask("status").out.rstrip().splitlines():
            screen.line(f"  {line}")
        return show.finish()


def interrupt(number: int, _frame: FrameType | None) -> None:
    """Any way of being told to end is to leave nothing behind, as Ctrl-C does."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    parser = argparse.ArgumentParser(description="deploy a chat server while people talk")
    parser.add_argument("--keep", action="store_true", help="leave it running at the end")
    arguments = parser.parse_args()
    if (missing := what_is_missing()) is not None:
        print(missing, file=sys.stderr)
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    screen = Screen()
    screen.title("wssupervisor: a chat server is deployed five times while people talk")
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
        screen.line(screen.paint(f"The supervisor ended with exit status {status}.", RED))
    screen.line()
    return 0 if good and status == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
