"""What a client of the control socket asks for that cannot be answered as it hopes."""

from typing import Any

from tests.harness.daemon import Daemon
from tests.harness.settings import Settings
from wssupervisor.control.client import Client, DaemonError
from wssupervisor.runtime.pending import VERDICTS_KEPT

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("reload", {"timeout": 5}, "timeout: found 5, expected a duration such as"),
    ("reload", {"timeout": ["5s"]}, "timeout: found a list, expected a duration such as"),
    ("reload", {"timeout": "infinity"}, "timeout: found 'infinity', expected a finite duration"),
    ("reload", {"wait": "no"}, "wait: found 'no', expected true or false"),
    ("drain", {"generation": 1, "within": True}, "within: found True, expected a duration"),
    ("drain", {"generation": "1", "pause": True}, "generation: found '1', expected a whole number"),
    ("drain", {"generation": 1}, "give one of: within"),
    ("scale", {"workers": True}, "workers: found True, expected a whole number"),
    ("verdict", {"reload": 1}, 'reload: found 1, expected the id of a reload, such as "r3"'),
    ("verdict", {"reload": "r1"}, "there was no reload r1"),
]


def refused(daemon: Daemon, method: str, params: dict[str, Any]) -> tuple[str, str]:
    """Code and message of the error that a request is answered with."""
    try:
        answer = Client(str(daemon.control)).call(method, params)
    except DaemonError as error:
        return error.code, str(error)
    raise AssertionError(f"{method} {params} was answered with {answer}")


def test_verdicts_are_known_for_a_while(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        daemon.start()
        settings.path.write_text("nonsense")
        for _ in range(VERDICTS_KEPT + 1):
            assert refused(daemon, "reload", {})[0] == "reload-failed"

        assert refused(daemon, "verdict", {"reload": "r1"}) == (
            "operation-failed",
            "the result of reload r1 is no longer known. See: wssctl history",
        )
        code, reason = refused(daemon, "verdict", {"reload": "r2"})
        assert code == "reload-failed"
        assert reason.startswith("the configuration cannot be used")


def test_a_parameter_of_another_kind_is_refused_and_named(settings: Settings) -> None:
    with Daemon(settings) as daemon:
        before = daemon.start().active_pids()
        answers = [refused(daemon, method, params) for method, params, _ in BAD]

        assert {code for code, _ in answers} == {"bad-request"}
        for (_, _, expected), (_, message) in zip(BAD, answers, strict=True):
            assert expected in message
        assert daemon.active_pids() == before
        assert daemon.status()["last_reload"] is None
