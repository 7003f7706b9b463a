"""The declared order of the rooms, from the ground up. tests/unit/test_house.py holds it.

A room imports rooms of lower rows only, never of its own row. A new room is put into the lowest row
above all that it imports; `./dev house` prints the rows that today's arrows would give. Names are
without `wssupervisor.`; the package itself (its version) is `wssupervisor`.
"""

ORDER = (
    (
        "bounded",
        "bounded_json",
        "command_line",
        "config_reader",
        "durations",
        "files",
        "fleet",
        "harmless",
        "journal",
        "lock_file",
        "log_allowance",
        "log_limit",
        "quiet_thread",
        "start_directory",
        "verdict",
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
        "worker",
    ),
    ("acceptor", "config", "logging", "systemd_protocol"),
    ("config_values", "control"),
    ("config_app",),
    ("config_file",),
    ("runtime",),
    ("commands", "daemon"),
    ("__main__",),
)
"""Rows of rooms, the ground floor first."""

FLOOR_OF = {room: floor for floor, row in enumerate(ORDER) for room in row}
"""Room -> row."""
