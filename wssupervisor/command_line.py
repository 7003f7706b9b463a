"""A forgotten `--` before the command: options behind it would be taken for the supervisor's."""

import argparse
import shlex
from collections.abc import Sequence

SEPARATOR = "--"
OURS_FIRST = ("--listen", "--config")
"""One of them is needed; written behind the command it is put in front of it."""


def corrected(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> str | None:
    """The line that was meant, if the command has options and no `--` stands before it."""
    at = _command_at(parser, arguments)
    if at is None or not any(word.startswith("-") for word in arguments[at:]):
        return None
    own, command = list(arguments[:at]), list(arguments[at:])
    if not any(word.partition("=")[0] in OURS_FIRST for word in own):
        for index, word in enumerate(command):
            if word.partition("=")[0] in OURS_FIRST:
                end = index + (1 if "=" in word else 2)
                own += command[index:end]
                del command[index:end]
                break
    return shlex.join([parser.prog, *own, SEPARATOR, *command])


def _command_at(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int | None:
    """Where the first word stands that is neither an option nor an option's value."""
    with_value = {
        flag
        for action in parser._actions  # noqa: SLF001 - argparse has no other list of its options
        for flag in action.option_strings
        if action.nargs != 0
    }
    skip = False
    for at, word in enumerate(arguments):
        if skip:
            skip = False
        elif word == SEPARATOR:
            return None
        elif word.startswith("-"):
            skip = word in with_value
        else:
            return at
    return None
