"""Configuration files: right ones must mean what they say, and each mistake must be named."""

from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz import inputs, odd_files
from tests.fuzz.target import Target, Wrong, directory
from tests.harness.configs import SMALL, WHOLE
from wssupervisor.bounded import TEXT_CHARS
from wssupervisor.config.model import Config
from wssupervisor.config.schema import load_config
from wssupervisor.errors import ConfigInvalid
from wssupervisor.fleet.model import ReadyBy, WhenFull

MESSAGE_CHARS = TEXT_CHARS + 200
"""The length that fits into an answer of the daemon, the history and the journal."""
RIGHT: dict[str, dict[str, tuple[tuple[str, Any], ...]]] = {
    "app": {
        "workers": (("1", 1), ("256", 256), ("0x10", 16)),
        "environment_files": (('["/etc/a", "-/etc/b"]', ("/etc/a", "-/etc/b")),),
        "pass_environment": (('["A", "-B"]', ("A", "-B")),),
        "forward_signals": (('["SIGUSR1", "SIGUSR1"]', ("SIGUSR1",)),),
    },
    "ready": {
        "by": (('"connect"', ReadyBy.CONNECT), ('"notify"', ReadyBy.NOTIFY)),
        "timeout": (('"500ms"', 0.5), ('"2h"', 7200.0)),
        "stable": (('"0s"', 0.0), ('"1min"', 60.0)),
    },
    "drain": {
        "keep": (('"0s"', 0.0), ('"10min"', 600.0)),
        "timeout": (('"infinity"', float("inf")), ('"1s"', 1.0)),
        "signal": (('"SIGUSR1"', "SIGUSR1"), ('"none"', None)),
        "max_draining": (("1", 1), ("100", 100)),
        "when_full": (('"refuse"', WhenFull.REFUSE), ('"end-oldest"', WhenFull.END_OLDEST)),
    },
    "stop": {
        "timeout": (('"20s"', 20.0),),
        "signal": (('"SIGINT"', "SIGINT"),),
        "kill_after": (('"0s"', 0.0),),
    },
    "restart": {"backoff": (('"1s"', 1.0),), "backoff_max": (('"10s"', 10.0),)},
    "watchdog": {"interval": (('"0s"', 0.0), ('"30s"', 30.0))},
    "control": {"group_may_operate": (("true", True), ("false", False))},
}
WRONG_VALUES = (
    '"nonsense"',
    "[[]]",
    "{}",
    "-1",
    "1e400",
    "nan",
    "1979-05-27",
    '""',
    "[[1]]",
    "9" * 30,
)
"""Values that are wrong for each of these keys."""


@dataclass(frozen=True, slots=True)
class File:
    """`means`: keys and values of a right file; `mistake`: the key that is wrong.

    `odd`: no file, but one of these.
    """

    data: bytes
    means: dict[tuple[str, str], Any] | None = None
    mistake: str | None = None
    odd: str | None = None


class Configuration(Target[File]):
    name = "config"
    fails = (
        "a right file is misread; a mistake is accepted or not named; an exception other than"
        " ConfigInvalid is raised; a message is too long for an answer or can act on a terminal"
    )
    cpu_seconds = 4.0

    def open(self, stack: ExitStack) -> None:
        self._path = directory(stack) / "chat.toml"

    def make(self, random: Random) -> File:
        match random.randrange(10):
            case 0 if random.random() < 0.2:
                return File(b"", odd=random.choice(odd_files.KINDS))
            case 0 | 1 | 2:
                return _right(random)
            case 3 | 4 | 5:
                return _mistaken(random)
            case 6:
                return File(random.choice((inputs.nested(random), _many(random))))
            case _:
                return File(inputs.mutated(random, random.choice((SMALL, WHOLE)).encode()))

    def judge(self, given: File) -> None:
        odd_files.clear(self._path)
        if given.odd is None:
            self._path.write_bytes(given.data)
        else:
            odd_files.make(self._path, given.odd)
        try:
            found = load_config(str(self._path))
        except ConfigInvalid as error:
            _judge_problems(given, error)
            return
        if given.mistake is not None or given.odd is not None:
            raise Wrong(f"{given.mistake or given.odd} passed")
        _judge_meaning(given, found)


def _judge_problems(given: File, error: ConfigInvalid) -> None:
    if given.means is not None:
        raise Wrong(f"it is right, and was refused: {error}")
    if len(str(error)) > MESSAGE_CHARS:
        raise Wrong(f"{len(error.problems)} problems take {len(str(error))} characters")
    for problem in error.problems:
        if not problem.isprintable():
            raise Wrong(f"a problem's text is not printable: {ascii(problem)[:300]}")
    if given.mistake is not None and not any(given.mistake in one for one in error.problems):
        raise Wrong(f"{given.mistake} is wrong and not named: {error}")


def _judge_meaning(given: File, found: Config) -> None:
    for (table, key), expected in (given.means or {}).items():
        actual = getattr(getattr(found, table), key)
        if actual != expected:
            raise Wrong(f"[{table}] {key} was read as {actual!r}, not {expected!r}")
    found.policy()
    found.descriptors_wanted()


def _right(random: Random) -> File:
    chosen = _chosen(random)
    means = {(table, key): one[1] for table, keys in chosen.items() for key, one in keys.items()}
    return File(_written(chosen).encode(), means)


def _mistaken(random: Random) -> File:
    """One value that is wrong, or one key that does not exist."""
    chosen = _chosen(random)
    table = random.choice(sorted(RIGHT))
    key = random.choice((*sorted(RIGHT[table]), "no_such_key"))
    chosen.setdefault(table, {})[key] = (random.choice(WRONG_VALUES), None)
    return File(_written(chosen).encode(), mistake=key)


def _chosen(random: Random) -> dict[str, dict[str, tuple[str, Any]]]:
    found: dict[str, dict[str, tuple[str, Any]]] = {}
    for table in random.sample(sorted(RIGHT), random.randrange(len(RIGHT))):
        keys = random.sample(sorted(RIGHT[table]), random.randrange(1, len(RIGHT[table]) + 1))
        found[table] = {key: random.choice(RIGHT[table][key]) for key in keys}
    return found


def _written(chosen: dict[str, dict[str, tuple[str, Any]]]) -> str:
    lines = ['[[listen]]\naddress = "127.0.0.1:8765"', '[app]\ncommand = ["serve"]']
    lines += [f"{key} = {one[0]}" for key, one in chosen.get("app", {}).items()]
    for table, keys in chosen.items():
        if table != "app":
            lines.append(f"[{table}]")
            lines += [f"{key} = {one[0]}" for key, one in keys.items()]
    return "\n".join(lines) + "\n"


def _many(random: Random) -> bytes:
    """More mistakes than an operator can read."""
    number = random.choice((100, 3000))
    keys = "\n".join(f"worker{at} = {at}" for at in range(number))
    tables = "\n".join(f"[table{at}]" for at in range(random.choice((0, 3000))))
    return f"{SMALL}\n[app.environment]\n[drain]\n{keys}\n{tables}\n".encode()
