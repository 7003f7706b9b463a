"""The report as Markdown, for a terminal or for pasting."""

from collections.abc import Sequence

from tests.bench import verdicts
from tests.bench.figures import (
    Besieged,
    Check,
    LeftOut,
    Output,
    Ratio,
    Report,
    RivalFigures,
    Scraping,
    SizeFigures,
    Stalled,
)
from tests.bench.plan import Plan

Row = Sequence[str]


def render(report: Report) -> str:
    parts = [
        f"wssupervisor {report.version}, {report.plan.name} run: {report.machine}, {report.date}"
    ]
    sizes = [one for one in report.sizes if isinstance(one, SizeFigures)]
    if sizes:
        parts.append(_table(*_sizes(sizes)))
    parts += [
        f"{one.held:,} held: not measured, because {one.reason}"
        for one in report.sizes
        if isinstance(one, LeftOut)
    ]
    if report.balance is not None:
        one = report.balance
        parts.append(
            f"Balance of {one.connections:,} connections over {one.workers} workers, busiest over"
            f" mean: supervised {one.supervised:.2f}, bare {one.bare:.2f}"
        )
    if report.start is not None:
        parts.append(
            f"Start of the daemon until it serves: {report.start.start_ms:.0f} ms, its own share"
            f" {report.start.own_share_ms:.0f} ms"
        )
    if report.scraping is not None:
        parts.append(_scraping(report.scraping))
    if report.stalled:
        parts.append(_table(*_stalled(report.stalled)))
    if report.besieged:
        parts.append(_table(*_besieged(report.besieged)))
    if report.verdicts:
        parts.append(_table(*verdicts.table(report.verdicts)))
    parts += [_output(one) for one in report.output]
    if report.rivals:
        parts.append(_table(*_rivals(report.plan, report.rivals)))
        parts.append("\n".join([_rules(report.plan), *_notes(report.rivals)]))
    if any(one.met is not None for one in report.checks):
        parts.append(_table(*_checks(report.checks)))
    return "\n\n".join(parts)


def _scraping(one: Scraping | LeftOut) -> str:
    if isinstance(one, LeftOut):
        return f"Scraping at {one.held:,} held: not measured, because {one.reason}"
    return (
        f"Metrics scraped once a second at {one.held:,} held: supervisor's CPU"
        f" {one.scraped_percent:.2f} % of a core, not scraped {one.without_percent:.2f} %, median"
        f" difference {one.cost_percent:.2f} %; a scrape takes {one.scrape_ms:.1f} ms"
    )


def _stalled(sides: Sequence[Stalled]) -> tuple[Row, list[Row]]:
    head = (
        "a server that stalls at times", "side", "clients", "failed", "mean s", "p50 s",
        "p90 s", "p99 s",
        "worst s", "processes at the end", "at most",
    )  # fmt: skip
    return head, [
        [
            one.scenario,
            one.side,
            str(one.clients),
            str(one.failed),
            _number(one.mean_seconds, 2),
            _number(one.p50_seconds, 2),
            _number(one.p90_seconds, 2),
            _number(one.p99_seconds, 2),
            _number(one.worst_seconds, 2),
            str(one.processes),
            str(one.most_processes),
        ]
        for one in sides
    ]


def _besieged(sides: Sequence[Besieged]) -> tuple[Row, list[Row]]:
    head = (
        "slow-loris clients against", "side", "slow at most", "opened", "others asked", "answered",
        "p50 s", "processes before", "at most", "at the end", "MB before", "at most", "at the end",
    )  # fmt: skip
    return head, [
        [
            one.server,
            one.side,
            str(one.slow_held),
            str(one.slow_opened),
            str(one.asked),
            str(one.answered),
            _number(one.p50_seconds, 2),
            str(one.processes_before),
            str(one.most_processes),
            str(one.processes),
            _number(one.memory_before_mb, 0),
            _number(one.most_memory_mb, 0),
            _number(one.memory_mb, 0),
        ]
        for one in sides
    ]


def _output(one: Output) -> str:
    unread = f", the log unread for {one.stalled_seconds:g} s" if one.stalled_seconds else ""
    return (
        f"{one.megabytes:g} MB of output in {one.seconds:.0f} s{unread}: loop lag p99 below"
        f" {one.lag_p99_ms:g} ms ({one.lag_samples} samples); of {one.lines:,} lines"
        f" {one.told:,} logged, {one.skipped:,.0f} reported missing, {one.unaccounted:g}"
        f" unaccounted, {one.out_of_order} out of order; reload {one.reload_ms:.0f} ms,"
        f" {one.broken} connections broken"
    )


def _sizes(sizes: Sequence[SizeFigures]) -> tuple[Row, list[Row]]:
    def row(name: str, values: Sequence[str]) -> Row:
        return [name, *values]

    def pair(left: float | None, right: float | None, digits: int) -> str:
        return f"{_number(left, digits)} / {_number(right, digits)}"

    def connects(name: str) -> list[str]:
        return [
            pair(getattr(one.bare.connects, name), getattr(one.supervised.connects, name), 1)
            for one in sizes
        ]

    echoes = [
        pair(one.bare.echoes_per_second, one.supervised.echoes_per_second, 0) for one in sizes
    ]
    cpu = [pair(one.bare.cpu_us_per_echo, one.supervised.cpu_us_per_echo, 1) for one in sizes]
    failed = [f"{one.bare.connects.failed} / {one.supervised.connects.failed}" for one in sizes]
    return ["held WebSockets (bare / supervised)", *(f"{one.held:,}" for one in sizes)], [
        row("echoes per second", echoes),
        row("- supervised to bare", [_ratio(one.throughput_ratio) for one in sizes]),
        row("CPU per echo, µs", cpu),
        row("- supervised to bare", [_ratio(one.cpu_ratio) for one in sizes]),
        row("connect p50 steady, ms", connects("steady_p50_ms")),
        row("connect p99 steady, ms", connects("steady_p99_ms")),
        row("connect p50 after start of workers / reload, ms", connects("after_p50_ms")),
        row("connect p99 after start of workers / reload, ms", connects("after_p99_ms")),
        row("- p99 to steady", [pair(one.p99_ratio_of_bare, one.p99_ratio, 2) for one in sizes]),
        row(
            "- p99 from cutover on, to steady",
            [_number(one.p99_ratio_from_cutover, 2) for one in sizes],
        ),
        row("new connections that failed", failed),
        row("held ones broken", [f"{one.bare.broken} / {one.supervised.broken}" for one in sizes]),
        row("misrouted", [str(one.misrouted) for one in sizes]),
        row("request to cutover, ms", [_number(one.reload_ms, 0) for one in sizes]),
        row("- the supervisor's own share, ms", [_number(one.own_share_ms, 0) for one in sizes]),
        row("supervisor's PSS idle, MB", [f"{one.idle.pss_mb:.1f}" for one in sizes]),
        row("supervisor's PSS draining, MB", [f"{one.drain.pss_mb:.1f}" for one in sizes]),
        row("supervisor's CPU idle, %", [f"{one.idle.cpu_percent:.2f}" for one in sizes]),
        row("supervisor's CPU draining, %", [f"{one.drain.cpu_percent:.2f}" for one in sizes]),
        row("wssctl status, ms", [f"{one.status_ms:.0f}" for one in sizes]),
    ]


def _rivals(plan: Plan, rivals: Sequence[RivalFigures]) -> tuple[Row, list[Row]]:
    head = (
        "one application, own reload",
        "broken of held",
        "failed",
        "misrouted",
        "p99 ms",
        "cutover s",
        "PSS MB",
        "in reload",
        "CPU per echo µs",
        "to bare",
    )
    return head, [_rival(plan, one) for one in rivals]


def _rival(plan: Plan, one: RivalFigures) -> Row:
    held = one.held * one.reloads
    broken = "-" if one.broken is None else f"{one.broken:,} of {held:,}"
    failed = "-" if one.failed is None else f"{one.failed:,} of {one.attempts:,}"
    cutover = _number(one.cutover_seconds, 2)
    if one.reloads and one.cutover_seconds is None:
        cutover = f"over {plan.window_seconds:g}"
    return [
        one.name,
        broken,
        failed,
        "-" if one.misrouted is None else f"{one.misrouted:,}",
        _number(one.p99_ms, 1),
        cutover,
        _number(one.idle_pss_mb, 0),
        _number(one.reload_pss_mb, 0),
        _number(one.cpu_us_per_echo, 1),
        "-" if one.cpu_ratio is None else f"{one.cpu_ratio.median:.2f}",
    ]


RULES = """\
- Each was reloaded under {held:,} held WebSockets and {rate:g} new ones a second. The new ones that
  count began within {window:g} s after the command of the reload.
- Broken: held connections that the reload closed. Failed: refused, reset, closed or not answered.
  Misrouted: reached old code after others had reached new code, or after a promised cutover.
  Cutover: from the command until all connections reach new code."""


def _rules(plan: Plan) -> str:
    return RULES.format(held=plan.rival_held, rate=plan.rate, window=plan.window_seconds)


def _notes(rivals: Sequence[RivalFigures]) -> list[str]:
    return [
        f"- {one.name} {one.version}: {one.missing}"
        if one.missing is not None
        else f"- {one.name} {one.version}: {one.reload_command}. {one.note}".rstrip()
        for one in rivals
    ]


def _checks(checks: Sequence[Check]) -> tuple[Row, list[Row]]:
    verdicts = {True: "met", False: "MISSED", None: "not measured"}
    return ["target", "limit", "found", "at", ""], [
        [one.target, f"{one.limit:g}", _number(one.found, 3), one.where, verdicts[one.met]]
        for one in checks
    ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _ratio(value: Ratio | None) -> str:
    if value is None:
        return "-"
    return f"{value.median:.3f} ({value.low:.2f} to {value.high:.2f})"


def _table(head: Row, rows: Sequence[Row]) -> str:
    """Format columns with their minimum width, all but the first aligned to the right."""
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]

    def line(row: Row) -> str:
        first, *rest = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join([first, *rest])} |"

    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([line(head), f"|{rule}|", *(line(row) for row in rows)])
