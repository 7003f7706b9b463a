"""All rivals in turns: echoes, then reloads under held and new connections."""

import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from examples.load.clients import ClientFailed
from examples.load.waiting import NotInTime
from tests.bench.clients import Target, broken
from tests.bench.cost import pss_mb, tree
from tests.bench.figures import RivalFigures
from tests.bench.measure import Echoes, Server, around, echoes
from tests.bench.numbers import latencies_ms, median, percentile, ratio
from tests.bench.plan import Plan
from tests.bench.progress import say
from tests.bench.rivals.rival import Rival, RivalFailed
from tests.bench.rivals.verdict import ReloadSeen

FIRST_NUMBER = 10
FAILURES = (RivalFailed, ClientFailed, NotInTime, OSError, subprocess.TimeoutExpired)


@dataclass(slots=True)
class _Contestant:
    """One rival in the run, and its results so far."""

    rival: Rival
    target: Target
    idle_pss_mb: float = 0.0
    release: int = 1
    echoes: list[Echoes] = field(default_factory=list)
    seen: list[ReloadSeen] = field(default_factory=list)
    broken: int = 0
    reload_pss_mb: list[float] = field(default_factory=list)
    missing: str | None = None

    def server(self) -> Server:
        return Server(self.target, self.rival.roots())


def contest(plan: Plan, directory: Path, kinds: Sequence[type[Rival]]) -> list[RivalFigures]:
    """The first of `kinds` is the reference for the CPU of the others."""
    figures: dict[type[Rival], RivalFigures] = {}
    with ExitStack() as stack:
        running: dict[type[Rival], _Contestant] = {}
        for number, kind in enumerate(kinds, start=FIRST_NUMBER):
            lacking = kind.missing()
            if lacking is None:
                found = _started(kind, directory, number, stack)
                if found.missing is None:
                    running[kind] = found
                    continue
                lacking = found.missing
            figures[kind] = _empty(kind, lacking)
        contestants = list(running.values())
        _echo_rounds(plan, contestants)
        for number in range(plan.rival_reloads):
            for one in contestants:
                if one.rival.reloads and one.missing is None:
                    say(f"{one.rival.name}: reload {number + 1} of {plan.rival_reloads}")
                    _reload_round(plan, one)
        reference = contestants[0].echoes if contestants else []
        figures |= {kind: _figures(plan, one, reference) for kind, one in running.items()}
    return [figures[kind] for kind in kinds]


def _started(kind: type[Rival], directory: Path, number: int, stack: ExitStack) -> _Contestant:
    say(f"{kind.name}: start")
    rival = kind(directory / f"rival-{number}")
    one = _Contestant(rival, Target(rival.directory, rival.port, number))
    stack.callback(rival.close)
    try:
        rival.start()
    except FAILURES as error:
        one.missing = f"did not start: {error}"
    else:
        one.idle_pss_mb = pss_mb(tree(rival.roots()))
    return one


def _echo_rounds(plan: Plan, contestants: Sequence[_Contestant]) -> None:
    for number in range(plan.echo_openings):
        say(f"echoes of all, {number + 1} of {plan.echo_openings}")
        servers = [one.server() for one in contestants]
        found = echoes(servers, plan.echo_seconds, plan.rival_echoes)
        for one, rounds in zip(contestants, found, strict=True):
            one.echoes += rounds


def _reload_round(plan: Plan, one: _Contestant) -> None:
    rival = one.rival
    one.release += 1
    rival.install(one.release)

    def reload() -> tuple[float, float | None]:
        promised = rival.reload()
        return time.monotonic(), promised

    try:
        with one.target.held(plan.rival_held) as held:
            held.wait_open()
            found, (returned_at, promised_at) = around(
                one.target, plan.rate, plan.steady_seconds, plan.window_seconds, reload
            )
            one.reload_pss_mb.append(pss_mb(tree(rival.roots())))
            one.broken += broken(held.finish())
    except FAILURES as error:
        one.missing = f"{error}"
        return
    one.seen.append(ReloadSeen(found.after, one.release, found.begun_at, returned_at, promised_at))
    rival.settle()


def _empty(kind: type[Rival], missing: str) -> RivalFigures:
    version = "" if kind.missing() else kind.version()
    return RivalFigures(kind.name, version, kind.reload_command, kind.note, missing)


def _figures(plan: Plan, one: _Contestant, reference: Sequence[Echoes]) -> RivalFigures:
    figures = replace(
        _empty(type(one.rival), one.missing or ""),
        missing=one.missing,
        idle_pss_mb=one.idle_pss_mb,
        cpu_us_per_echo=median(found.cpu_us for found in one.echoes),
        cpu_ratio=ratio(
            [found.cpu_us for found in one.echoes], [found.cpu_us for found in reference]
        ),
        echoes_per_second=median(found.per_second for found in one.echoes),
    )
    if not one.seen:
        return figures
    p99s = (percentile(latencies_ms(seen.notes), 99) for seen in one.seen)
    cutovers = [seen.cutover_seconds() for seen in one.seen]
    return replace(
        figures,
        held=plan.rival_held,
        reloads=len(one.seen),
        broken=one.broken,
        failed=sum(seen.failed for seen in one.seen),
        misrouted=sum(seen.misrouted() for seen in one.seen),
        attempts=sum(len(seen.notes) for seen in one.seen),
        p99_ms=median(p99 for p99 in p99s if p99 is not None),
        cutover_seconds=None
        if None in cutovers
        else median(found for found in cutovers if found is not None),
        reload_pss_mb=median(one.reload_pss_mb),
    )
