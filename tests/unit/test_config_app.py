"""[app]: which variables, signals and paths are refused, and which are passed on."""

from pathlib import Path

import pytest

from tests.harness.configs import LISTEN, load, problems
from wssupervisor.config.model import Overrides

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
