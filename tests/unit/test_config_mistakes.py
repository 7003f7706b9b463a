"""What is said about the mistakes of a configuration file: to people, and all of it at once."""

from pathlib import Path

import pytest

from tests.harness.configs import LISTEN, SMALL, WHOLE, load, problems
from wssupervisor.config.model import Overrides
from wssupervisor.config.schema import load_config
from wssupervisor.errors import ConfigInvalid

TABLES = "(allowed: app, listen, ready, drain, stop, restart, watchdog, control, http)"
APP_KEYS = (
    "(allowed: command, directory, environment, environment_files, forward_signals,"
    " pass_environment, workers)"
)
FINITE = 'a finite duration such as "500ms", "30s", "10min" or "2h"'


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    text = """
[app]
wrokers = 3
keep = "1s"
[ready]
timeout = 30
by = "luck"
[drain]
kep = "3s"
[spare]
x = 1
[reddy]
"""

    assert problems(tmp_path, text) == [
        (
            "[[listen]]: found nothing, expected at least one, such as [[listen]] with address = "
            '"0.0.0.0:8765"'
        ),
        '[app] command: found nothing, expected a list such as ["/srv/chat/current/bin/serve"]',
        '[ready] by: found "luck", expected "connect", "notify", "delay", "http" or "websocket"',
        (
            '[ready] timeout: found 30, expected a finite duration such as "500ms", "30s", "10min"'
            ' or "2h"'
        ),
        f"[spare]: no such table {TABLES}",
        f"[reddy]: no such table, did you mean ready? {TABLES}",
        f"[app] wrokers: no such key, did you mean workers? {APP_KEYS}",
        f"[app] keep: no such key, it belongs in [drain] {APP_KEYS}",
        (
            "[drain] kep: no such key, did you mean keep? (allowed: close_over, keep, max_draining,"
            " signal, timeout, when_full)"
        ),
    ]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("[ready]\ntimeout = true", f"[ready] timeout: found true, expected {FINITE}"),
        ('[ready]\ntimeout = "infinity"', f'[ready] timeout: found "infinity", expected {FINITE}'),
        (
            '[ready]\ntimeout = "0s"',
            '[ready] timeout: found "0s", expected a duration above zero, such as "2s"',
        ),
        (
            '[drain]\ntimeout = "10m"',
            (
                '[drain] timeout: found "10m", expected a duration such as "500ms", "30s", "10min",'
                ' "2h" or "infinity"'
            ),
        ),
        (
            '[drain]\nsignal = "USR1"',
            (
                '[drain] signal: found "USR1", expected "none" or a signal name such as "SIGUSR1",'
                ' did you mean "SIGUSR1"?'
            ),
        ),
        (
            '[stop]\nsignal = ["SIGTERM"]',
            '[stop] signal: found ["SIGTERM"], expected a signal name such as "SIGTERM"',
        ),
        (
            '[stop]\nsignal = "SIGKILL"',
            (
                '[stop] signal: found "SIGKILL", expected a signal name such as "SIGTERM", which a'
                " worker can handle"
            ),
        ),
        (
            "[drain]\nmax_draining = 0",
            "[drain] max_draining: found 0, expected a whole number from 1 to 100",
        ),
        (
            "[drain]\nmax_draining = true",
            "[drain] max_draining: found true, expected a whole number from 1 to 100",
        ),
        (
            '[restart]\nbackoff = "1min"',
            '[restart] backoff_max: found "30s", expected at least backoff, 1min',
        ),
        (
            "[control]\ngroup_may_operate = 0",
            "[control] group_may_operate: found 0, expected true or false",
        ),
        (
            '[restart]\nbackoff = "1min"\nbackoff_max = 3',
            f"[restart] backoff_max: found 3, expected {FINITE}",
        ),
        (
            '[http]\naddress = "0.0.0.0:9464"',
            (
                '[http] address: found "0.0.0.0:9464", expected a loopback address such as'
                ' "127.0.0.1:9464" or "[::1]:9464", or "unix:/run/...", because it has no'
                " authentication. For other machines put a proxy in front of it"
            ),
        ),
        (
            '[http]\naddress = "127.0.0.1:8765"',
            "[http] address: found \"127.0.0.1:8765\", expected another address: 'ws' has it",
        ),
        (
            '[http]\naddress = "127.0.0.1:1"\nhosts = ["https://a.example"]',
            (
                '[http] hosts: found ["https://a.example"], expected host names, with a port if'
                ' requests use one, such as "metrics.example.org" or "localhost:8080"'
            ),
        ),
        (
            '[http]\nhosts = ["a.example"]',
            (
                '[http] address: found nothing, expected an address such as "127.0.0.1:9464":'
                " hosts has no effect without it"
            ),
        ),
        (
            '[http]\nagent = "unix:/run/agent"',
            (
                '[http] agent: found "unix:/run/agent", expected an IP address with a port such as'
                ' "0.0.0.0:9465": HAProxy asks by TCP'
            ),
        ),
        (
            '[http]\naddress = "127.0.0.1:1"\nagent = "0.0.0.0:1"',
            '[http] agent: found "0.0.0.0:1", expected another address: [http] address has it',
        ),
        (
            '[http]\nagent = "127.0.0.1:8765"',
            "[http] agent: found \"127.0.0.1:8765\", expected another address: 'ws' has it",
        ),
        ("drain = 3", "drain: found 3, expected a table: [drain]"),
        ("[[drain]]", "drain: found [{}], expected a table: [drain]"),
        (
            '[ready]\n"by\\u001b[2J" = 1',
            (
                '[ready] "by\\u001b[2J": no such key (allowed: by, expect, headers, host, listener,'
                " path, send, stable, subprotocol, timeout)"
            ),
        ),
    ],
)
def test_a_mistake_is_told_with_table_key_found_and_allowed(
    tmp_path: Path, lines: str, problem: str
) -> None:
    assert problems(tmp_path, f"{lines}\n{SMALL}") == [problem]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            "",
            '[app] command: found nothing, expected a list such as ["/srv/chat/current/bin/serve"]',
        ),
        (
            'command = "serve"',
            (
                '[app] command: found "serve", expected a list of strings, such as'
                ' ["/srv/chat/current/bin/serve", "--port"]'
            ),
        ),
        (
            'command = ["serve", 3]',
            (
                '[app] command: found ["serve", 3], expected a list of strings without NUL, such'
                ' as ["/srv/chat/current/bin/serve", "--port"]'
            ),
        ),
        (
            "command = []",
            "[app] command: found [], expected a non-empty program and its arguments",
        ),
        (
            'command = ["a"]\nworkers = 0',
            '[app] workers: found 0, expected a whole number from 1 to 256, or "auto"',
        ),
        (
            'command = ["a"]\ndirectory = ""',
            '[app] directory: found "", expected a non-empty string without NUL',
        ),
        (
            'command = ["a"]\nenvironment_files = ["-"]',
            (
                '[app] environment_files: found ["-"], expected non-empty file names, such'
                ' as "/etc/chat.env"'
            ),
        ),
        (
            'command = ["a"]\n[app.environment]\nPORT = 80\nREGION = "eu"',
            '[app.environment] PORT: found 80, expected a string without NUL, such as PORT = "eu"',
        ),
        (
            'command = ["a"]\n[app.environment]\nMY-NAME = "x"',
            (
                '[app.environment] MY-NAME: found "x", expected a name of letters, digits and'
                " underscores that does not begin with a digit"
            ),
        ),
        (
            'command = ["a"]\nenvironment = ["A=1"]',
            '[app] environment: found ["A=1"], expected a table: [app.environment]',
        ),
        (
            'command = ["a", "--fd={fd:http}"]',
            '[app] command: found "{fd:http}", expected a listener, closed with a brace: {fd:ws}',
        ),
        (
            'command = ["a", "{fd:ws"]',
            '[app] command: found "{fd:ws", expected a listener, closed with a brace: {fd:ws}',
        ),
    ],
)
def test_a_mistake_in_app_is_told_once(tmp_path: Path, lines: str, problem: str) -> None:
    assert problems(tmp_path, f"{LISTEN}[app]\n{lines}\n") == [problem]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("[limits]\nx = 1", "[limits] comes in a later version. Leave it out"),
        ("[hooks]", "[hooks] comes in a later version. Leave it out"),
    ],
)
def test_what_comes_later_is_refused_and_says_so(tmp_path: Path, lines: str, told: str) -> None:
    (found,) = problems(tmp_path, f"{lines}\n{SMALL}")

    assert found.startswith(told)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            'path = "/healthz"',
            'path: found "/healthz", expected nothing: only by = "http"',
        ),
        ('by = "http"\npath = "healthz"', 'path: found "healthz", expected a path such as'),
        ('by = "http"\npath = "/a b"', 'path: found "/a b", expected a path such as "/healthz"'),
        (
            'by = "http"\nsend = "x"',
            'send: found "x", expected nothing: only by = "web',
        ),
        ('by = "websocket"\nsend = 3', "send: found 3, expected a non-empty string"),
        ('by = "websocket"\nlistener = "x"', 'listener: found "x", expected "ws"'),
    ],
)
def test_a_probe_asks_only_what_can_be_answered(tmp_path: Path, lines: str, told: str) -> None:
    (found,) = problems(tmp_path, f"{SMALL}[ready]\n{lines}\n")

    assert found.startswith(f"[ready] {told}")


def test_a_placeholder_is_not_blamed_for_a_listeners_unreadable_name(tmp_path: Path) -> None:
    text = SMALL.replace('"serve"', '"serve", "{fd:Web}"') + 'name = "Web"\n'

    assert [one.split(":")[0] for one in problems(tmp_path, text)] == ["[[listen]] name"]


def test_an_app_that_is_no_table_is_told_once(tmp_path: Path) -> None:
    assert problems(tmp_path, f"app = 3\n{LISTEN}") == ["app: found 3, expected a table: [app]"]


def test_a_plain_fd_needs_a_single_listener(tmp_path: Path) -> None:
    text = WHOLE.replace("{fd:ws}", "--fd={fd}")

    assert problems(tmp_path, text) == [
        (
            '[app] command: found "{fd}", expected one of {fd:ws}, {fd:raw}: there are several'
            " listeners"
        )
    ]


def test_a_key_outside_its_table_is_told_where_it_belongs(tmp_path: Path) -> None:
    assert problems(tmp_path, f"workers = 2\n{SMALL}") == [
        f"workers: no such key outside a table, it belongs in [app] {TABLES}"
    ]


def test_a_missing_file_says_what_else_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="no such file; give --config"):
        load_config(str(tmp_path / "none.toml"))


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be read: not a regular file"):
        load_config(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[app\n", "line 1"),
        ("x = " + "[" * 20_000, "nested too deeply"),
        ("x = " + "1" * 5_000, "not valid TOML: Exceeds the limit"),
    ],
    ids=["broken", "deep", "digits"],
)
def test_what_is_no_toml_is_one_problem(tmp_path: Path, text: str, words: str) -> None:
    (found,) = problems(tmp_path, text)

    assert found.startswith("not valid TOML: ")
    assert words in found


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "chat.toml").write_bytes(b"# caf\xe9\n")

    with pytest.raises(ConfigInvalid, match="not UTF-8 at byte 5"):
        load_config(str(tmp_path / "chat.toml"))


@pytest.mark.parametrize("overrides", [Overrides(), Overrides(workers="129")])
def test_more_workers_than_clients_can_be_told_apart_for_are_refused(
    tmp_path: Path, overrides: Overrides
) -> None:
    workers = 2 if overrides.workers else 129
    text = SMALL.replace('["serve"]', f'["serve"]\nworkers = {workers}') + 'balance = "client"\n'
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, text, overrides)

    (problem,) = caught.value.problems
    assert "workers: found 129, expected at most 128: 'ws' has balance = \"client\"" in problem
