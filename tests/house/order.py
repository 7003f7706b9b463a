"""The declared order of the rooms, from the ground up. tests/unit/test_house.py holds it.

A room imports rooms of lower rows only, never of its own row. A new room is put into the lowest row
above all that it imports; `./dev house` prints the floors that today's arrows would give. Names are
without `wssupervisor.`; `wssupervisor` and `runtime` are what stands in their `__init__` alone.
"""

ORDER = (
    # no import of ours
    ("plural",),
    (
        "bounded",
        "bounded_json",
        "command_line",
        "durations",
        "files",
        "fleet",
        "harmless",
        "journal",
        "lock_file",
        "log_allowance",
        "log_limit",
        "plain_structlog",
        "quiet_thread",
        "runtime",
        "runtime.clock",
        "runtime.controlling_terminal",
        "start_directory",
        "probe_verdict",
        "worker.lines",
        "wssupervisor",
    ),
    (
        "errors",
        "foreign",
        "log_writer",
        "metrics",
        "notify_queue",
        "own_directory",
        "probe",
        "stdio",
        "worker.handoff",
        "worker.pacing",
        "worker.protocol",
        "worker.sockets",
    ),
    (
        "acceptor",
        "config",
        "logging",
        "runtime.io_threads",
        "runtime.pending",
        "systemd_protocol",
        "worker.link",
    ),
    ("control", "runtime.systemd", "worker.worker"),
    ("worker.asgi", "worker.serving"),
    ("worker",),
    # runtime/, wing by wing
    ("runtime.fd_store", "runtime.history", "runtime.kernel"),
    ("runtime.effects", "runtime.listeners", "runtime.releases"),
    ("runtime.workers",),
    ("runtime.background",),
    ("runtime.supervisor",),
    ("runtime.observe",),
    ("runtime.monitoring", "runtime.upkeep"),
    ("runtime.handover",),
    ("runtime.api", "runtime.signals"),
    ("runtime.instance",),
    # the two programs
    ("commands", "daemon"),
    ("__main__",),
)
"""Rows of rooms, the ground floor first."""

FLOOR_OF = {room: floor for floor, row in enumerate(ORDER) for room in row}
"""Room -> row."""
