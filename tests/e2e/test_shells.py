"""Completion as the package installs it, in the shells themselves."""

import pytest

from tests.e2e.machine import Machine

ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=(/usr/share/zsh/vendor-completions $fpath); autoload -U compinit"
zpty -w shell "compinit -D -u; zstyle ':completion:*' list-colors ''; LISTMAX=1000; echo rea''dy"
zpty -r shell out '*ready*'
zpty -w -n shell $'wssctl %s\\t\\t'
zpty -r shell out '*%s*'
print -rn -- "$out"
zpty -w -n shell $'\\C-u\\nexit\\n'
while zpty -r shell out; do print -rn -- "$out"; done
"""


def offered(machine: Machine, shell: str, line: str, last: str) -> str:
    """What the shell shows for the beginning of a command line; `last` is waited for."""
    if shell == "fish":
        return machine.run("fish", "-c", f"complete -C 'wssctl {line}'").stdout
    if shell == "zsh":
        return machine.run("zsh", "-f", "-c", ZSH % (line, last)).stdout
    words = ["wssctl", *line.split(" ")]
    code = (
        "source /usr/share/bash-completion/completions/wssctl;"
        f" COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1};"
        ' _wssctl; echo "${COMPREPLY[@]}"'
    )
    return machine.run("bash", "-c", code).stdout


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_the_package_completes_verbs_and_options(machine: Machine, shell: str) -> None:
    verbs = offered(machine, shell, "r", "rollback")
    options = offered(machine, shell, "-i chat drain 3 --", "--within")

    assert "reload" in verbs
    assert "rollback" in verbs
    assert "status" not in verbs
    for option in ("--within", "--pause", "--resume"):
        assert option in options
