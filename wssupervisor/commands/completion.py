"""completion: scripts that complete verbs, options and instances of wssctl"""

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

EXAMPLES = """\
The Debian package installs the scripts of all three shells. Without it:

examples:
  wssctl completion bash > /etc/bash_completion.d/wssctl
  wssctl completion zsh > /usr/local/share/zsh/site-functions/_wssctl
  wssctl completion fish > ~/.config/fish/completions/wssctl.fish
"""

INSTANCES = "ls /run/wssupervisor $XDG_RUNTIME_DIR/wssupervisor 2>/dev/null"
"""Lists the directories of instances, also those that this user may not ask. (Without a colon,
which separates zsh's specs.)
"""


@dataclass(frozen=True, slots=True)
class Option:
    """`value`: what follows it, None for a flag."""

    flags: tuple[str, ...]
    help: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Verb:
    """`word`: the name of its one argument, or None; `choices`: the values that are known."""

    name: str
    help: str
    options: tuple[Option, ...]
    word: str | None
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    options: tuple[Option, ...]
    verbs: tuple[Verb, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=sorted(WRITERS), help="the shell")


def run(given: argparse.Namespace) -> int:
    print("\n".join(WRITERS[given.shell](described(given.parser))))
    return 0


# -- read from wssctl's own parser --------------------------------------------------------------


def described(parser: argparse.ArgumentParser) -> Program:
    """All verbs and options."""
    # argparse has no public way to read a parser; shtab and argcomplete use these attributes, too.
    actions = parser._actions  # noqa: SLF001
    (verbs,) = [one for one in actions if isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001
    helps = {one.dest: one.help or "" for one in verbs._choices_actions}  # noqa: SLF001
    return Program(
        parser.prog,
        _options(actions),
        tuple(_verb(name, helps[name], own) for name, own in verbs.choices.items()),
    )


@runtime_checkable
class Completes(Protocol):
    """A parser that loads its verb's module when it is used."""

    def complete(self) -> None:
        """Add the arguments of the verb."""


def _verb(name: str, text: str, parser: argparse.ArgumentParser) -> Verb:
    if isinstance(parser, Completes):
        parser.complete()
    actions = parser._actions  # noqa: SLF001
    word = next((one for one in actions if not one.option_strings), None)
    choices = () if word is None else tuple(map(str, word.choices or ()))
    return Verb(name, text, _options(actions), word.dest if word else None, choices)


def _options(actions: list[argparse.Action]) -> tuple[Option, ...]:
    return tuple(
        Option(
            tuple(one.option_strings),
            (one.help or "").replace("%%", "%"),
            None if one.nargs == 0 else one.dest,
        )
        for one in actions
        if one.option_strings
    )


FILES = frozenset({"control", "file"})
DIRECTORIES = frozenset({"directory", "root"})


# -- bash --------------------------------------------------------------------------------------


def _bash(program: Program) -> Iterator[str]:
    values = {flag: one.value for one in program.options for flag in one.flags if one.value}
    takes = "|".join(values)
    yield f"# bash completion for {program.name}; made by `{program.name} completion bash`"
    yield f"_{program.name}() {{"
    yield "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= at"
    yield "    COMPREPLY=()"
    yield "    for ((at = 1; at < COMP_CWORD; at++)); do"
    yield "        case ${COMP_WORDS[at]} in"
    yield f"            {takes}) at=$((at + 1)) ;;"
    yield "            -*) ;;"
    yield "            *) verb=${COMP_WORDS[at]}; break ;;"
    yield "        esac"
    yield "    done"
    yield "    case $verb:$prev in"
    for flag, value in values.items():
        yield f"        :{flag}) {_bash_value(value)}; return ;;"
    for verb in program.verbs:
        for one in verb.options:
            if one.value:
                for flag in one.flags:
                    yield f"        {verb.name}:{flag}) {_bash_value(one.value)}; return ;;"
    yield "    esac"
    yield "    case $verb in"
    names = [verb.name for verb in program.verbs]
    flags = [flag for one in program.options for flag in one.flags]
    yield f'        "") COMPREPLY=($(compgen -W "{" ".join(names + flags)}" -- "$cur")) ;;'
    for verb in program.verbs:
        words = [flag for one in verb.options for flag in one.flags] + list(verb.choices)
        line = f'COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$cur"))'
        if verb.word in FILES:
            line += '; [[ $cur == -* ]] || COMPREPLY=($(compgen -f -- "$cur"))'
        yield f"        {verb.name}) {line} ;;"
    yield "    esac"
    yield "}"
    yield f"complete -o bashdefault -o default -F _{program.name} {program.name}"


def _bash_value(value: str) -> str:
    if value == "instance":
        return f'COMPREPLY=($(compgen -W "$({INSTANCES})" -- "$cur"))'
    if value in FILES:
        return 'COMPREPLY=($(compgen -f -- "$cur"))'
    if value in DIRECTORIES:
        return 'COMPREPLY=($(compgen -d -- "$cur"))'
    if value == "user":
        return 'COMPREPLY=($(compgen -u -- "$cur"))'
    return ":"


# -- zsh ---------------------------------------------------------------------------------------


def _zsh(program: Program) -> Iterator[str]:
    yield f"#compdef {program.name}"
    yield f"# made by `{program.name} completion zsh`"
    yield f"_{program.name}() {{"
    yield "    local curcontext=$curcontext state line ret=1"
    yield "    typeset -A opt_args"
    yield "    _arguments -C \\"
    for spec in _zsh_options(program.options):
        yield f"        {spec} \\"
    yield "        '1: :->verb' '*:: :->rest' && ret=0"
    yield "    case $state in"
    yield "        verb)"
    yield "            local -a verbs=("
    for verb in program.verbs:
        yield f"                {shlex.quote(f'{verb.name}:{_plain(verb.help)}')}"
    yield "            )"
    yield "            _describe verb verbs && ret=0 ;;"
    yield "        rest)"
    yield "            case $line[1] in"
    for verb in program.verbs:
        specs = [*_zsh_options(verb.options), *_zsh_words(verb)]
        yield f"                {verb.name}) _arguments {' '.join(specs)} && ret=0 ;;"
    yield "            esac ;;"
    yield "    esac"
    yield "    return ret"
    yield "}"
    yield f'_{program.name} "$@"'


def _zsh_options(options: tuple[Option, ...]) -> Iterator[str]:
    for option in options:
        others = " ".join(option.flags)
        for flag in option.flags:
            value = "" if option.value is None else f":{option.value}:{_zsh_value(option.value)}"
            yield shlex.quote(f"({others}){flag}[{_plain(option.help)}]{value}")


def _zsh_words(verb: Verb) -> Iterator[str]:
    if verb.word in FILES:
        yield "'1:file:_files'"
    elif verb.word is not None:
        # Also without choices, or zsh would offer no option after it.
        yield shlex.quote(f"1:{verb.word}:({' '.join(verb.choices)})")


def _zsh_value(value: str) -> str:
    if value == "instance":
        return f"{{compadd -- $({INSTANCES})}}"
    if value in FILES:
        return "_files"
    if value in DIRECTORIES:
        return "_files -/"
    return "_users" if value == "user" else " "


def _plain(text: str) -> str:
    """Without characters that end a description in zsh."""
    return text.replace("[", "(").replace("]", ")").replace(":", ",")


# -- fish --------------------------------------------------------------------------------------


def _fish(program: Program) -> Iterator[str]:
    begin = f"complete -c {program.name}"
    yield f"# made by `{program.name} completion fish`"
    yield f"{begin} -f"
    names = " ".join(verb.name for verb in program.verbs)
    none = f"-n 'not __fish_seen_subcommand_from {names}'"
    for one in program.options:
        yield f"{begin} {none}{_fish_option(one)}"
    for verb in program.verbs:
        help_text = shlex.quote(verb.help)
        yield f"{begin} {none} -a {verb.name} -d {help_text}"
        seen = f"-n '__fish_seen_subcommand_from {verb.name}'"
        for one in verb.options:
            yield f"{begin} {seen}{_fish_option(one)}"
        if verb.word in FILES:
            yield f"{begin} {seen} -F"
        elif verb.choices:
            yield f"{begin} {seen} -a {shlex.quote(' '.join(verb.choices))}"


def _fish_option(option: Option) -> str:
    found = ""
    for flag in option.flags:
        found += f" -l {flag[2:]}" if flag.startswith("--") else f" -s {flag[1:]}"
    if option.value is not None:
        found += f" -x{_fish_value(option.value)}" if option.value not in FILES else " -r -F"
    return f"{found} -d {shlex.quote(option.help)}"


def _fish_value(value: str) -> str:
    if value == "instance":
        return f" -a '(command {INSTANCES})'"
    if value in DIRECTORIES:
        return " -a '(__fish_complete_directories)'"
    return " -a '(__fish_complete_users)'" if value == "user" else ""


WRITERS = {"bash": _bash, "fish": _fish, "zsh": _zsh}
