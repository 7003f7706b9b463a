"""Detects a forgotten `--` before the command, whose options would be read as our own."""

import argparse
import shlex
from collections.abc import Sequence

SEPARATOR = "--"
OURS_FIRST = ("--listen", "--config")
"""One of them is needed. If it stands after the command, the corrected line moves it."""


def corrected(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> str | None:
    """Return the corrected line if the command has options and no `--` before it."""
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
    """Return the position of the first word that is neither an option nor its value."""
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
