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
_SINGLE = re.compile(r"'([^']*)'")
# Possessive: otherwise each character costs some hundred bytes until the value ends.
_DOUBLE = re.compile(r'"((?:\\[\s\S]|[^"\\]++)*+)"')
_PLAIN = re.compile(r"((?:[ \t]*+(?:\\[\s\S]|[^ \t\n\\]++))*+)[ \t]*\\?")
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
            quoted = pattern.match(text, begin)
            if quoted is None:
                raise ValueError(f"line {_line(text, begin)}: the quote is never closed")
            parts.append(quoted[1] if pattern is _SINGLE else _ESCAPE.sub(_in_quotes, quoted[1]))
            at = quoted.end()
            continue
        plain = _PLAIN.match(text, begin)
        assert plain is not None
        parts.append(_ESCAPE.sub(_as_it_is, plain[1]))
        return "".join(parts), plain.end() + 1


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
