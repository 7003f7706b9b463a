"""Bytes, texts and JSON that readers do not expect, all from the given random numbers."""

import json
from random import Random
from typing import Any

LONG = (1_000, 20_000, 70_000, 200_000)
"""How often something is repeated, once in a while."""
SIZE_MAX = 1 << 20
"""Bytes of one input."""
TEXTS = (
    "", " ", "\0", "\n", "\r\n", "\t", "=", "0", "1", "-1", "a", "A=1", "ä", "\u202e", "\ufeff",
    "\x7f",
    "\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "$(id)", "`id`; | sh", "%s%n", "../../etc/passwd",
    "\ud800", "\U0001f600", "null", "NaN", "1e999", "true", "inf", "10min", "30s", "r1",
    "r999999999",
    "\uff12", "³", "0x10", "1_000", "\\", '"', "'", "[", "{", "}", "]", "#", ";", "unix:/tmp/x",
    "127.0.0.1:0",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 255, 256, 2**31, 2**32, 2**53 + 1, 2**63, -(2**63), 2**64, 10**30, 10**400, 0.5,
    -0.0, 1e308, float("inf"), float("-inf"), float("nan"), True, False, None,
)  # fmt: skip
TOKENS = (
    b"\0", b"\n", b"\r\n", b"\r", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xe2\x80\xae", b"\x1b[2J",
    b'"', b"'", b"\\",
    b"{", b"}", b"[", b"]", b"[[", b"=", b":", b",", b"#", b" ", b"0", b"-", b"1e9", b"9" * 30,
    b"9" * 5000,
    b"null", b"NaN", b"Infinity", b"true", b'"a":', b"\xef\xbb\xbf", b"\x80" * 8,
)  # fmt: skip


def many(random: Random) -> bytes:
    """One token again and again."""
    token = random.choice(TOKENS)
    return token * min(random.choice(LONG), SIZE_MAX // len(token))


def text(random: Random) -> str:
    match random.randrange(8):
        case 0:
            return random.choice(TEXTS) * random.randrange(40)
        case 1:
            return "".join(random.choice(TEXTS) for _ in range(random.randrange(6)))
        case 2:
            return "".join(chr(random.randrange(1, 0x300)) for _ in range(random.randrange(30)))
        case 3 if random.random() < 0.05:
            return random.choice(TEXTS[1:]) * random.choice(LONG)
        case _:
            return random.choice(TEXTS)


def value(random: Random, depth: int = 3) -> Any:
    """Anything that JSON knows."""
    match random.randrange(6 if depth else 3):
        case 0 | 1:
            return random.choice(NUMBERS)
        case 2 | 3:
            return text(random)
        case 4:
            return [value(random, depth - 1) for _ in range(random.randrange(4))]
        case _:
            return {text(random): value(random, depth - 1) for _ in range(random.randrange(4))}


def mutated(random: Random, data: bytes) -> bytes:
    """The same with some damage."""
    found = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        at = random.randrange(len(found) + 1)
        to = min(len(found), at + random.choice((1, 2, 5, 40)))
        match random.randrange(7):
            case 0 if found:
                found[at % len(found)] ^= 1 << random.randrange(8)
            case 1:
                del found[at:to]
            case 2:
                found[at:at] = found[at:to] * random.choice((1, 2, 10))
            case 3:
                found[at:at] = random.choice(TOKENS)
            case 4:
                found[at:to] = random.randbytes(to - at)
            case 5:
                del found[at:]
            case _ if random.random() < 0.1:
                found[at:at] = many(random)
    return bytes(found[:SIZE_MAX])


def mutated_value(random: Random, document: Any) -> Any:
    """The same document with one or two of its nodes replaced, taken out, or there once more."""
    found = json.loads(json.dumps(document))
    for _ in range(random.choice((1, 1, 2))):
        found = _mutated_node(random, found)
    return found


def _mutated_node(random: Random, node: Any) -> Any:
    if not isinstance(node, dict | list) or not node or random.random() < 0.1:
        return value(random)
    items: dict[Any, Any] = dict(node if isinstance(node, dict) else enumerate(node))
    key = random.choice(list(items))
    if random.random() < 0.6 and isinstance(items[key], dict | list):
        items[key] = _mutated_node(random, items[key])
    else:
        match random.randrange(4):
            case 0:
                del items[key]
            case 1:
                items[text(random)] = items[key]
            case _:
                items[key] = value(random)
    return items if isinstance(node, dict) else list(items.values())


def nested(random: Random) -> bytes:
    """Deeper than any reader goes."""
    depth = random.choice(LONG)
    return random.choice((b"[", b'{"a":', b"[{", b"{")) * depth
