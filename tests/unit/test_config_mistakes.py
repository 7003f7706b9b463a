"""What is said about the mistakes of a configuration file: to people, and all of it at once."""

from pathlib import Path

import pytest

from tests.harness.configs import ADDRESS, SMALL, WHOLE, load, problems
from wssupervisor.config.model import Overrides
from wssupervisor.config.schema import load_config
from wssupervisor.errors import ConfigInvalid

LISTEN = '[[listen]]\naddress = "127.0.0.1:8765"\n'
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


@pytest.mark.parametrize(
    "address",
    [
        "chat.example.org:80",
        "localhost.:80",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:70000",
        "127.0.0.1:٨٠",
        "127.0.0.1:" + "1" * 5000,
        "::1:80",
        "[::1]80",
        "[fe80::1%eth0]:80",
        "[127.0.0.1]:80",
        ":80",
    ],
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    (found,) = problems(tmp_path, SMALL.replace("127.0.0.1:8765", address))

    assert found.startswith('[[listen]] address: found "')
    assert f", expected {ADDRESS}" in found


UNIX = SMALL.replace("127.0.0.1:8765", "unix:/run/x.sock")
NOTIFY = '[ready]\nby = "notify"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            UNIX,
            (
                '[ready] by: found nothing, expected "notify" or "delay": listener \'ws\' is shared'
                " (AF_UNIX sockets cannot be steered)"
            ),
        ),
        (
            SMALL + 'mode = "shared"\n[ready]\nby = "connect"\n',
            '[ready] by: found "connect", expected "notify" or "delay": listener \'ws\' is shared',
        ),
        (UNIX + 'mode = "steered"\n' + NOTIFY, '[[listen]] mode: found "steered", expected "auto"'),
        (
            UNIX + 'balance = "client"\n' + NOTIFY,
            '[[listen]] balance: found "client", expected "random", because the',
        ),
        (UNIX + 'socket_mode = "9"\n' + NOTIFY, '[[listen]] socket_mode: found "9", expected an'),
        (
            SMALL + 'socket_user = "www-data"\n',
            '[[listen]] socket_user: found "www-data", expected nothing: only addresses',
        ),
        (UNIX.replace("/run/x", "run/x") + NOTIFY, '[[listen]] address: found "unix:run/x.sock"'),
        (UNIX.replace("/run/x", "/" + 110 * "x") + NOTIFY, '[[listen]] address: found "unix:/xxx'),
    ],
)
def test_what_shared_mode_cannot_do_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (found,) = problems(tmp_path, text)

    assert found.startswith(told)


def test_an_af_unix_listener_has_an_owner_and_a_mode(tmp_path: Path) -> None:
    keys = 'socket_mode = "0660"\nsocket_user = "chat"\nsocket_group = "www-data"\n'
    (found,) = load(tmp_path, UNIX + keys + NOTIFY).listeners

    assert str(found.address) == "unix:/run/x.sock"
    assert (found.socket_mode, found.socket_user, found.socket_group) == (
        0o660,
        "chat",
        "www-data",
    )


def test_the_address_is_left_out_when_systemd_passes_it(tmp_path: Path) -> None:
    config = load(tmp_path, '[app]\ncommand = ["serve"]\n[[listen]]\nname = "web"\n')

    assert [(one.name, one.address) for one in config.listeners] == [("web", None)]


def test_of_several_listeners_the_wrong_one_is_told_by_its_number(tmp_path: Path) -> None:
    text = SMALL + '[[listen]]\nname = "raw"\nbacklog = 0\n'

    assert problems(tmp_path, text) == [
        "[[listen]] #2 backlog: found 0, expected a whole number from 1 to 1048576"
    ]


def test_two_listeners_need_two_names_and_two_addresses(tmp_path: Path) -> None:
    text = SMALL + '[[listen]]\naddress = "127.0.0.1:8765"\n'

    assert problems(tmp_path, text) == [
        (
            '[[listen]] #2 name: found "ws", expected a name that no other listener has'
            ' (default: "ws")'
        ),
        "[[listen]] #2 address: found \"127.0.0.1:8765\", expected another address: 'ws' has it",
    ]


def test_two_listeners_need_addresses_that_do_not_overlap(tmp_path: Path) -> None:
    every = SMALL.replace("127.0.0.1", "0.0.0.0")
    second = '[[listen]]\nname = "b"\naddress = "{}:8765"\n'
    wrong = '[[listen]] #2 address: found "{}:8765", expected an address that 0.0.0.0:8765 of'
    both = f"{wrong.format('[::]')} 'ws' does not include: [::] also takes IPv4 clients, so leave"
    one = f"{wrong.format('127.0.0.1')} 'ws' does not include"

    assert problems(tmp_path, every + second.format("[::]")) == [f"{both} 0.0.0.0 out"]
    assert problems(tmp_path, every + second.format("127.0.0.1")) == [one]


@pytest.mark.parametrize("name", ["Web", "a:b", "a.b", "", "ä", "a b"])
def test_a_listeners_name_is_safe_in_listen_fdnames(tmp_path: Path, name: str) -> None:
    text = SMALL + f'name = "{name}"\n'

    assert problems(tmp_path, text) == [
        (
            f'[[listen]] name: found "{name}", expected lower-case letters, digits, "-" and "_",'
            ' such as "ws"'
        )
    ]


def test_a_table_that_is_written_as_one_listener_is_told_once(tmp_path: Path) -> None:
    text = '[app]\ncommand = ["a", "{fd:web}"]\n[listen]\nname = "web"\n'

    assert problems(tmp_path, text) == [
        'listen: found {"name": "web"}, expected tables, each begun with [[listen]]'
    ]


def test_a_placeholder_is_not_blamed_for_a_listeners_unreadable_name(tmp_path: Path) -> None:
    text = SMALL.replace('"serve"', '"serve", "{fd:Web}"') + 'name = "Web"\n'

    assert [one.split(":")[0] for one in problems(tmp_path, text)] == ["[[listen]] name"]


def test_an_app_that_is_no_table_is_told_once(tmp_path: Path) -> None:
    assert problems(tmp_path, f"app = 3\n{LISTEN}") == ["app: found 3, expected a table: [app]"]


def test_a_missing_listener_is_told_beside_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, '[app]\ncommand = ["a"]\n', Overrides(name="a b"))

    assert [one.split(": found")[0] for one in caught.value.problems] == [
        "command line: --name",
        f"{tmp_path}/chat.toml: [[listen]]",
    ]


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


LITERAL = (
    "expected literal text, because variables are not expanded here. To give workers a variable of"
    " the daemon's environment, name it in [app] pass_environment. To give them other values, use a"
    ' file in [app] environment_files. For a literal "${NAME}" write "$${NAME}"'
)


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        ("${DATABASE_URL}", "${DATABASE_URL}"),
        ("postgres://chat:secret@${DB_HOST}/chat", "${DB_HOST}"),
        ("${PORT:-8765}", "${PORT:-8765}"),
        ("$DATABASE_URL", "$DATABASE_URL"),
        ("$PATH:/opt/bin", "$PATH"),
        ("/opt/lib:$PYTHONPATH", "$PYTHONPATH"),
    ],
)
def test_a_reference_to_a_variable_is_refused_and_only_it_is_shown(
    tmp_path: Path, value: str, reference: str
) -> None:
    text = f'[app]\ncommand = ["x"]\n[app.environment]\nDATABASE_URL = "{value}"\n{LISTEN}'

    assert problems(tmp_path, text) == [
        f'[app.environment] DATABASE_URL: found "{reference}", {LITERAL}'
    ]
    text = f'[app]\ncommand = ["x", "--database={value}"]\n{LISTEN}'
    assert problems(tmp_path, text) == [f'[app] command: found "{reference}", {LITERAL}']


@pytest.mark.parametrize(
    "value", ["pa$$word", "$ecret", "a$Bc", "100$", "${lower}", "$1", "x$DOLLARS", "\\\\${"]
)
def test_a_dollar_that_is_no_reference_is_taken_as_it_is(tmp_path: Path, value: str) -> None:
    text = f'[app]\ncommand = ["x", "{value}"]\n[app.environment]\nA = "{value}"\n{LISTEN}'
    app = load(tmp_path, text).app

    assert (app.command[1], dict(app.environment)["A"]) == (value.replace("\\\\", "\\"),) * 2


def test_a_literal_reference_can_be_written(tmp_path: Path) -> None:
    text = f'[app]\ncommand = ["x", "--format=$${{HOST}} $${{PORT}}"]\n{LISTEN}'

    assert load(tmp_path, text).app.command[1] == "--format=${HOST} ${PORT}"


def test_the_text_of_a_program_has_dollars_of_its_own(tmp_path: Path) -> None:
    text = f'[app]\ncommand = ["sh", "-c", "exec serve --port ${{PORT:-1}} $PATH"]\n{LISTEN}'

    assert load(tmp_path, text).app.command[2] == "exec serve --port ${PORT:-1} $PATH"


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        ('"DATABASE_*"', "names of letters, digits and underscores that do not begin with a digit"),
        ('"A=1"', "names of letters, digits and underscores that do not begin with a digit"),
        ('""', "names of letters, digits and underscores that do not begin with a digit"),
        ('"LISTEN_FDS"', "names other than LISTEN_FDS, which the supervisor sets itself"),
        ('"-NOTIFY_SOCKET"', "names other than NOTIFY_SOCKET, which the supervisor sets itself"),
        ('"REGION"', "names other than REGION, which [app.environment] sets"),
    ],
)
def test_what_cannot_be_passed_on_is_refused(tmp_path: Path, names: str, wrong: str) -> None:
    text = f'[app]\ncommand = ["x"]\npass_environment = [{names}]\n'
    (found,) = problems(tmp_path, f'{text}[app.environment]\nREGION = "eu"\n{LISTEN}')

    assert wrong in found


def test_the_command_line_adds_names(tmp_path: Path) -> None:
    given = Overrides(pass_environment=("B", "-C", "A"))
    text = f'[app]\ncommand = ["x"]\npass_environment = ["A"]\n{LISTEN}'

    assert load(tmp_path, text, given).app.pass_environment == ("A", "B", "-C")


@pytest.mark.parametrize("name", ["SIGHUP", "SIGUSR2", "SIGTERM", "USR1", "SIGKILL"])
def test_signals_that_mean_something_to_the_supervisor_are_not_passed_on(
    tmp_path: Path, name: str
) -> None:
    (found,) = problems(tmp_path, f'[app]\ncommand = ["x"]\nforward_signals = ["{name}"]\n{LISTEN}')

    assert f'found ["{name}"], expected any of SIGUSR1, SIGWINCH: the other signals' in found


def test_relative_paths_start_where_the_daemon_was_started(tmp_path: Path) -> None:
    text = f'[app]\ncommand = ["x"]\nenvironment_files = ["a", "-b", "/c"]\n{LISTEN}'
    app = load(tmp_path, text, Overrides(start="/srv/current")).app

    assert app.directory == "/srv/current"
    assert app.environment_files == ("/srv/current/a", "-/srv/current/b", "/c")
    text = text.replace("[app]", '[app]\ndirectory = "chat"')
    assert load(tmp_path, text, Overrides(start="/srv")).app.directory == "/srv/chat"
