"""Environment files as systemd's EnvironmentFile= reads them, but a mistake is an error.

    NAME=value      trailing blanks are dropped; \\ makes the next character literal
    NAME="value"    \\ makes " \\ ` $ literal, and is kept before any other character
    NAME='value'    nothing is special
    # comment, ; comment

A backslash at the end of a line joins it with the next; quoted values may span lines.
"""

import re

_SKIPPED = re.compile(r"[ \t]*(?:[#;][^\n]*)?(?:\n|\Z)")
_NAME = re.compile(r"[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*=")
_BLANKS = re.compile(r"[ \t]*")
_SINGLE = re.compile(r"[^']+")
_DOUBLE = re.compile(r'\\[\s\S]|[^"\\]+')
_PLAIN = re.compile(r"[ \t]*(?:\\[\s\S]|[^ \t\n\\]+)")
_REST = re.compile(r"[ \t]*\\?")
_ESCAPE = re.compile(r"\\([\s\S])")


def parse_environment(text: str) -> dict[str, str]:
    """Return values by name; a later line wins. Raises ValueError, which names the line."""
    if "\0" in text:
        raise ValueError(f"line {_line(text, text.index(chr(0)))}: a NUL character")
    text = text.replace("\r\n", "\n")
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if skipped := _SKIPPED.match(text, at):
            at = skipped.end()
            continue
        name = _NAME.match(text, at)
        if name is None:
            raise ValueError(f"line {_line(text, at)}: expected NAME=value")
        found[name[1]], at = _value(text, name.end())
    return found


def _value(text: str, at: int) -> tuple[str, int]:
    """The value that begins there and the offset of the next line.

    A value has any number of quoted parts; an unquoted part runs to the end of the line.
    """
    parts = []
    while True:
        begin = _end(_BLANKS.match(text, at))
        if text[begin : begin + 1] in ("'", '"'):
            pattern = _SINGLE if text[begin] == "'" else _DOUBLE
            end = _end_of_all(pattern, text, begin + 1)
            if text[end : end + 1] != text[begin]:
                raise ValueError(f"line {_line(text, begin)}: the quote is never closed")
            quoted = text[begin + 1 : end]
            parts.append(quoted if pattern is _SINGLE else _ESCAPE.sub(_in_quotes, quoted))
            at = end + 1
            continue
        end = _end_of_all(_PLAIN, text, begin)
        parts.append(_ESCAPE.sub(_as_it_is, text[begin:end]))
        return "".join(parts), _end(_REST.match(text, end)) + 1


def _end_of_all(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where the last of any number of matches in a row ends.

    A repeated group would need some hundred bytes for each character, and a possessive one matches
    too much before Python 3.11.5 (https://github.com/python/cpython/issues/106052).
    """
    while found := pattern.match(text, at):
        at = found.end()
    return at


def _as_it_is(escaped: re.Match[str]) -> str:
    return "" if escaped[1] == "\n" else escaped[1]


def _in_quotes(escaped: re.Match[str]) -> str:
    if escaped[1] == "\n":
        return ""
    return escaped[1] if escaped[1] in '"\\`$' else escaped[0]


def _end(found: re.Match[str] | None) -> int:
    assert found is not None
    return found.end()


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
