"""The man pages name what the parsers know, and nothing else: verbs, options, keys, statuses."""

import re
from pathlib import Path

import pytest

from wssupervisor import daemon
from wssupervisor.commands import cli
from wssupervisor.commands.completion import described
from wssupervisor.config import tables
from wssupervisor.config.schema import load_config

MAN = Path(__file__).parents[2] / "packaging/man"
LONG_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
NO_DEFAULTS = {  # an example, or of another way
    ("app", "directory"),
    ("listen", "address"),
    ("listen", "socket_mode"),
    ("ready", "path"),
    ("http", "address"),
    ("http", "agent"),
}
NOT_OURS = {"--now", "--kill-whom"}  # systemctl's


def page(name: str) -> str:
    return (MAN / f"{name}.scd").read_text()


def options(text: str) -> set[str]:
    return set(LONG_OPTION.findall(text)) - NOT_OURS


def test_wssctl_1_has_every_verb_with_its_options() -> None:
    text = page("wssctl.1")
    known = described(cli.parser())
    flags = {flag for one in known.options for flag in one.flags}

    for verb in known.verbs:
        found = re.search(
            rf"^\*{verb.name}\*(.*?)(?=^\*[a-z]+\*|^A _SPAN_)", text, re.MULTILINE | re.DOTALL
        )
        assert found is not None, verb.name
        own = {flag for one in verb.options for flag in one.flags if flag not in {"-h", "--help"}}
        assert own <= options(found[1]), verb.name
        flags |= own
    assert options(text) <= flags


def test_wssupervisor_8_has_every_option_and_no_other() -> None:
    known = {
        flag
        for action in daemon.parser()._actions
        for flag in action.option_strings
        if flag.startswith("--")
    }

    assert options(page("wssupervisor.8")) == known


@pytest.mark.parametrize(
    ("name", "source"),
    [("wssctl.1", cli.EPILOG), ("wssupervisor.8", daemon.EXAMPLES)],
)
def test_exit_statuses_are_those_of_the_help(name: str, source: str) -> None:
    said = source[source.index("exit status") :]
    section = page(name).partition("# EXIT STATUS")[2].partition("\n# ")[0]

    assert set(re.findall(r"^\*(\d+)\*$", section, re.MULTILINE)) == set(
        re.findall(r"\b\d+\b", said)
    )


def test_wssupervisor_toml_5_has_every_key_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tables.Table] = []
    made = tables.Table.__init__

    def remember(self: tables.Table, *args: object, **options: object) -> None:
        made(self, *args, **options)  # type: ignore[arg-type]
        found.append(self)

    monkeypatch.setattr(tables.Table, "__init__", remember)
    path = tmp_path / "chat.toml"
    path.write_text('[app]\ncommand = ["x"]\n[[listen]]\naddress = "127.0.0.1:1"\n')
    load_config(str(path))
    known = {key for table in found for key in table.known}
    text = page("wssupervisor.toml.5")

    assert set(re.findall(r"\*([a-z_]+)\* ?[=,\n]", text)) | {"environment"} == (
        {key for key in known if not key.startswith("--") and key != "COMMAND"}
    )
    for table in (
        "[app]",
        "[[listen]]",
        "[ready]",
        "[drain]",
        "[stop]",
        "[restart]",
        "[control]",
        "[http]",
    ):
        assert f"\n# {table}\n" in text


def test_defaults_in_wssupervisor_toml_5_are_accepted_and_change_nothing(tmp_path: Path) -> None:
    text = page("wssupervisor.toml.5")
    lines = ['command = ["x"]']
    section = "app"
    written = {"app": lines}
    for line in text.splitlines():
        if line.startswith("# "):
            section = line[2:].strip("[]")
            written.setdefault(section, [])
        found = re.match(r"\*([a-z_]+)\* = _(.+?)_(,|$)", line)
        if found and (section, found[1]) not in NO_DEFAULTS:
            written[section].append(f"{found[1]} = {found[2]}")
    tables = ("app", "ready", "drain", "stop", "restart", "control", "watchdog", "http")
    parts = [f"[{name}]\n" + "\n".join(written[name]) for name in tables]
    listen = "\n".join(["[[listen]]", 'address = "127.0.0.1:1"', *written["listen"]])
    full, bare = tmp_path / "full.toml", tmp_path / "bare.toml"
    full.write_text("\n".join([*parts, listen]))
    bare.write_text('[app]\ncommand = ["x"]\n[[listen]]\naddress = "127.0.0.1:1"\n')

    assert len([line for name in tables for line in written[name]]) > 12
    assert load_config(str(full)).policy() == load_config(str(bare)).policy()
    assert load_config(str(full)).http == load_config(str(bare)).http
    assert load_config(str(full)).listeners == load_config(str(bare)).listeners


def test_every_message_id_is_explained_in_the_catalogue() -> None:
    from wssupervisor.logging import JOURNAL_FIELDS, MESSAGE_IDS

    catalogue = (MAN.parent / "journal/wssupervisor.catalog").read_text()

    assert set(re.findall(r"^-- ([0-9a-f]{32})$", catalogue, re.MULTILINE)) == set(
        MESSAGE_IDS.values()
    )
    assert set(re.findall(r"@(WSS_[A-Z_]+)@", catalogue)) <= set(JOURNAL_FIELDS.values())
