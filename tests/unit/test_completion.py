"""wssctl completion: what a real bash then offers."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from wssupervisor.commands.cli import main, parser
from wssupervisor.commands.completion import WRITERS, described
from wssupervisor.commands.verb_parser import OWN_VERBS

SECONDS = 20


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "wssctl.bash"
    path.write_text(capsys.readouterr().out)
    return path


def offered(script: Path, *words: str, runtime: Path | None = None) -> set[str]:
    """What bash completes the last word to."""
    assert shutil.which("bash"), "there is no bash"
    code = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _wssctl;'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", code, "bash", script, "wssctl", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        cwd=script.parent,
        env={"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(runtime or script.parent)},
    )
    assert done.stderr == ""
    return {line for line in done.stdout.splitlines() if line}


def test_bash_offers_every_verb(script: Path) -> None:
    assert set(OWN_VERBS) <= offered(script, "")
    assert offered(script, "ro") == {"rollback"}


def test_bash_offers_a_verbs_options_also_behind_the_instance(script: Path) -> None:
    assert offered(script, "-i", "chat", "reload", "--m") == {"--make-room"}
    assert offered(script, "--instance", "reload", "drain", "7", "--p") == {"--pause"}


def test_bash_offers_instances(script: Path) -> None:
    (script.parent / "wssupervisor/chat").mkdir(parents=True)
    (script.parent / "wssupervisor/game").mkdir()

    assert {"chat", "game"} <= offered(script, "-i", "")
    assert offered(script, "--instance", "g") == {"game"}


def test_bash_offers_files_where_one_is_wanted(script: Path) -> None:
    (script.parent / "chat.toml").touch()

    assert offered(script, "check", "cha") == {"chat.toml"}
    assert offered(script, "check", "--j") == {"--json"}


def test_bash_offers_choices_and_nothing_after_a_span(script: Path) -> None:
    assert offered(script, "completion", "") >= {"bash", "fish", "zsh"}
    assert offered(script, "stop", "--within", "") == set()


@pytest.mark.parametrize("shell", sorted(WRITERS))
def test_every_verb_and_option_is_in_it(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    out = capsys.readouterr().out
    known = described(parser())

    assert [verb.name for verb in known.verbs] == list(OWN_VERBS)
    for verb in known.verbs:
        for one in verb.options:
            for flag in one.flags:
                assert (flag.lstrip("-") if shell == "fish" else flag) in out
