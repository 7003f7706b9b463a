"""Whatever is written, what comes out is a Config or a list of problems, never a crash.

A reload reads the file while users are connected: a mistake there must not end the daemon.
"""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wssupervisor.config.model import Config, Overrides
from wssupervisor.config.schema import RESERVED, TABLES, load_config
from wssupervisor.config.tables import SHOWN_MAX, shown
from wssupervisor.errors import ConfigInvalid

KEYS = (
    *("command", "directory", "workers", "environment_files", "environment"),
    *("name", "address", "mode", "backlog", "accept_stall", "by", "path", "send", "expect"),
    *("host", "headers", "subprotocol"),
    *("timeout", "stable", "keep", "signal", "close_over", "max_draining", "when_full"),
    *("kill_after", "backoff", "backoff_max", "interval", "group_may_operate", "nonsense"),
)
TEXT = st.text(max_size=8)
WORDS = TEXT | st.sampled_from(
    ["auto", "30s", "0s", "infinity", "none", "SIGTERM", "unix:/x", "127.0.0.1:80", "{fd:", "{fd}"]
)
PLAIN = (
    WORDS
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.sampled_from(["@1979-05-27T07:32:00Z", "@07:32:00", "@1979-05-27"])
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(WORDS | st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(
    st.sampled_from((*TABLES, *RESERVED)) | TEXT,
    VALUES
    | st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
    | st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5), max_size=3),
    max_size=5,
)
ONE = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def toml(value: object) -> str:
    """As TOML on one line; text after @ is a date or time."""
    match value:
        case dict():
            items = (f"{toml(str(key))} = {toml(item)}" for key, item in value.items())
            return "{" + ", ".join(items) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case str() if value[:3] in ("@19", "@07"):
            return value[1:]
        case str():
            return (
                json.dumps(value).replace("\x7f", "\\u007f") if value.isascii() else _quoted(value)
            )
        case float():
            return repr(value)
        case _:
            return json.dumps(value)


def _quoted(value: str) -> str:
    return '"' + "".join(f"\\U{ord(one):08x}" for one in value) + '"'


def outcome(path: Path, overrides: Overrides | None = None) -> Config | tuple[str, ...]:
    try:
        return load_config(str(path), overrides)
    except ConfigInvalid as error:
        return error.problems


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "chat.toml"


@ONE
@given(DOCUMENTS)
def test_any_toml_is_a_config_or_problems(path: Path, document: dict[str, object]) -> None:
    path.write_text("".join(f"{toml(key)} = {toml(value)}\n" for key, value in document.items()))
    found = outcome(path)

    assert isinstance(found, Config) or len(found) > 0
    if isinstance(found, tuple):
        assert [one for one in found if not one.startswith(f"{path}: ")] == []
        assert [one for one in found if "not valid TOML" in one] == []
        assert [one for one in found if not one.isprintable()] == []
        assert len(set(found)) == len(found)


@ONE
@given(st.binary(max_size=60))
def test_any_file_is_a_config_or_problems(path: Path, data: bytes) -> None:
    path.write_bytes(data)

    assert outcome(path)


@ONE
@given(st.lists(WORDS, max_size=3), WORDS, WORDS, st.lists(WORDS, max_size=3))
def test_any_options_are_a_config_or_problems(
    listen: list[str], workers: str, name: str, command: list[str]
) -> None:
    overrides = Overrides(name, tuple(listen), workers, tuple(command))
    try:
        found: object = load_config(None, overrides)
    except ConfigInvalid as error:
        found = error.problems

    assert found


def test_a_wrong_value_is_shown_as_toml_has_it() -> None:
    assert [shown(one) for one in ("x", True, 3, ["a", 1.5], {"a": "b"}, None)] == [
        '"x"',
        "true",
        "3",
        '["a", 1.5]',
        '{"a": "b"}',
        "null",
    ]


def test_a_wrong_value_is_shown_on_one_line_that_no_terminal_obeys() -> None:
    assert shown("a\x1b[2J\n\x9b2J é") == '"a\\u001b[2J\\n\\x9b2J é"'


def test_a_long_wrong_value_is_cut() -> None:
    assert len(shown("x" * 1000)) == SHOWN_MAX
