"""Values taken from foreign JSON objects, within bounds. Errors state where, and what is allowed.

Pure, no I/O.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from wssupervisor.worker.handoff.frames import KEEP_BYTES

SHOWN_CHARS = 60


class Malformed(ValueError):
    """A message or a state of the other worker that cannot be used. The text is one short line."""


def parse(data: bytes, where: str) -> Any:
    """Parse JSON. Raises Malformed."""
    try:
        return json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{where}: not JSON: {str(error)[:SHOWN_CHARS]}") from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


class Fields:
    """One JSON object. `where` names it in errors, as in `states[3]`. Unknown keys are ignored."""

    def __init__(self, found: Any, where: str) -> None:
        """Raises Malformed if `found` is no object."""
        if not isinstance(found, dict):
            raise Malformed(f"{where}: found {shown(found)}, expected an object")
        self._found: Mapping[str, object] = found
        self.where = where

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def wrong(self, key: str, expected: str) -> Malformed:
        """Return the error for a key whose value is not as expected."""
        found = shown(self._found[key]) if key in self._found else "nothing"
        return Malformed(f"{self.where}: {key}: found {found}, expected {expected}")

    def integer(self, key: str, low: int, high: int) -> int:
        found = self._found.get(key)
        if type(found) is not int or not low <= found <= high:
            raise self.wrong(key, f"an integer from {low} to {high}")
        return found

    def flag(self, key: str) -> bool:
        found = self._found.get(key)
        if type(found) is not bool:
            raise self.wrong(key, "true or false")
        return found

    def seconds(self, key: str, high: float) -> float:
        found = self._found.get(key)
        if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found <= high:
            raise self.wrong(key, f"0 to {high:g} seconds")
        return float(found)

    def text(self, key: str, most: int) -> str:
        found = self._found.get(key)
        if not isinstance(found, str) or len(found) > most:
            raise self.wrong(key, f"a string of at most {most} characters")
        return found

    def text_or_none(self, key: str, most: int) -> str | None:
        return None if self._found.get(key) is None else self.text(key, most)

    def texts(self, key: str, most: int, chars: int) -> tuple[str, ...]:
        found = self._found.get(key)
        if not isinstance(found, list) or len(found) > most or not _are_texts(found, chars):
            raise self.wrong(key, f"at most {most} strings of at most {chars} characters")
        return tuple(found)

    def pairs(self, key: str, most: int, chars: int) -> tuple[tuple[str, str], ...]:
        """Take names with their values, as headers."""
        found = self._found.get(key)
        if (
            not isinstance(found, list)
            or len(found) > most
            or not all(
                isinstance(one, list) and len(one) == 2 and _are_texts(one, chars) for one in found
            )
        ):
            raise self.wrong(key, f"at most {most} pairs of strings of at most {chars} characters")
        return tuple((name, value) for name, value in found)

    def binary(self, key: str, most: int = KEEP_BYTES) -> bytes:
        """Take bytes that stand in base64."""
        found = self._found.get(key)
        try:
            data = base64.b64decode(found, validate=True) if isinstance(found, str) else None
        except (binascii.Error, ValueError):  # ValueError: it is not ASCII
            data = None
        if data is None or len(data) > most:
            raise self.wrong(key, f"base64 of at most {most} bytes")
        return data

    def inside(self, key: str) -> "Fields":
        """Take an object."""
        return Fields(self._found.get(key), f"{self.where}: {key}")

    def objects(self, key: str, most: int) -> "tuple[Fields, ...]":
        found = self._found.get(key)
        if not isinstance(found, list) or len(found) > most:
            raise self.wrong(key, f"a list of at most {most} objects")
        return tuple(Fields(one, f"{self.where}: {key}[{at}]") for at, one in enumerate(found))

    def mapping(self, key: str) -> dict[str, object]:
        """Take an object as it is."""
        found = self._found.get(key)
        if not isinstance(found, dict):
            raise self.wrong(key, "an object")
        return found


def _are_texts(found: list[Any], chars: int) -> bool:
    return all(isinstance(one, str) and len(one) <= chars for one in found)


def shown(value: Any) -> str:
    """Return the value as it is shown in an error: as printable ASCII, cut short."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    # Only a prefix is written out: a text may be long, and a number may have too many digits.
    if isinstance(value, str):
        text = ascii(value[:SHOWN_CHARS])
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return "a number of more than 128 bits"
    else:
        text = json.dumps(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."
