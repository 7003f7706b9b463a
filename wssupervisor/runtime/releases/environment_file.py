"""Environment files as systemd's EnvironmentFile= reads them, but mistakes are told, not skipped.

    NAME=value      blanks at the end do not count; \\ takes the next character as it is
    NAME="value"    \\ takes one of " \\ ` $ as it is, and is itself before all others
    NAME='value'    nothing is special
    # comment, ; comment

A backslash at the end of a line joins it with the next; quoted values may span lines.
"""

import re

_SKIPPED = re.compile(r"[ \t]*(?:[#;][^\n]*)?(?:\n|\Z)")
_NAME = re.compile(r"[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*=")
_BLANKS = re.compile(r"[ \t]*")
_SINGLE = re.compile(r"'([^']*)'")
# Possessive, or each character would cost some hundred bytes until the value has ended.
_DOUBLE = re.compile(r'"((?:\\[\s\S]|[^"\\]++)*+)"')
_PLAIN = re.compile(r"((?:[ \t]*+(?:\\[\s\S]|[^ \t\n\\]++))*+)[ \t]*\\?")
_ESCAPE = re.compile(r"\\([\s\S])")


def parse_environment(text: str) -> dict[str, str]:
    """Name to value; a later line wins. Raises ValueError that names the line."""
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
    """The value that begins there, of any number of quoted parts, and where the next line begins.

    What follows unquoted is taken up to the end of the line, quotes in it included.
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
