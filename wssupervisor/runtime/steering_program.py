"""The classic-BPF program that picks a slot for each new connection. Pure.

The kernel runs it on the SYN; what it returns is the index into the SO_REUSEPORT group. Opcodes
are those of linux/filter.h; the offsets were measured (PLATFORM.md, "Listening sockets").
"""

import ipaddress
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOAD_WORD = 0x20
LOAD_HALF = 0x28
LOAD_BYTE = 0x30
SHIFT_RIGHT = 0x74
MODULO = 0x94
JUMP_EQUAL = 0x15
JUMP_AT_LEAST = 0x35
RETURN = 0x06

RANDOM = 0xFFFFF000 + 56
"""SKF_AD_OFF + SKF_AD_RANDOM: 32 random bits."""
NETWORK = 0xFFF00000
"""SKF_NET_OFF: offsets from here count from the network header."""

_SOURCE_OFFSETS = {4: (12, 20), 6: (8, 40)}
"""IP version: where its source address and (without IP options) its source port stand."""

INSTRUCTIONS_MAX = 4096
_INSTRUCTION = struct.Struct("=HBBI")

Instruction = tuple[int, int, int, int]
"""(opcode, jump if true, jump if false, operand)."""


@dataclass(frozen=True, slots=True)
class ProbeRule:
    """Connections from this source address and port go to this group index, whatever the table."""

    host: str
    port: int
    index: int


def steering_program(
    weights: Mapping[int, int], probes: Sequence[ProbeRule] = ()
) -> list[Instruction]:
    """A weighted random choice among group indexes, after the probes' own rules.

    `weights` maps group index to a positive weight and is not empty. Raises ValueError where the
    kernel would refuse the program.
    """
    if not weights or min(weights.values()) < 1:
        raise ValueError("a steering table needs at least one slot, and weights from 1 on")
    program = [instruction for rule in probes for instruction in _probe(rule)]
    program += _choice(weights)
    if len(program) > INSTRUCTIONS_MAX:
        raise ValueError(f"{len(program)} instructions; the kernel takes {INSTRUCTIONS_MAX}")
    return program


def _probe(rule: ProbeRule) -> list[Instruction]:
    address = ipaddress.ip_address(rule.host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # on the wire it is IPv4, whatever the socket's family
    source_at, port_at = _SOURCE_OFFSETS[address.version]
    words = [
        int.from_bytes(address.packed[at : at + 4], "big")
        for at in range(0, len(address.packed), 4)
    ]
    tests = [(LOAD_WORD, source_at + 4 * nth, word) for nth, word in enumerate(words)]
    tests.append((LOAD_HALF, port_at, rule.port))
    program = [
        (LOAD_BYTE, 0, 0, NETWORK),
        (SHIFT_RIGHT, 0, 0, 4),
        (JUMP_EQUAL, 0, 2 * len(tests) + 1, address.version),
    ]
    for nth, (load, offset, expected) in enumerate(tests):
        left = 2 * (len(tests) - nth - 1) + 1
        program += [(load, 0, 0, NETWORK + offset), (JUMP_EQUAL, 0, left, expected)]
    return [*program, (RETURN, 0, 0, rule.index)]


def _choice(weights: Mapping[int, int]) -> list[Instruction]:
    *others, (last, _) = sorted(weights.items())
    if not others:
        return [(RETURN, 0, 0, last)]
    program = [(LOAD_WORD, 0, 0, RANDOM), (MODULO, 0, 0, sum(weights.values()))]
    reached = 0
    for index, weight in others:
        reached += weight
        program += [(JUMP_AT_LEAST, 1, 0, reached), (RETURN, 0, 0, index)]
    return [*program, (RETURN, 0, 0, last)]


def packed(program: Sequence[Instruction]) -> bytes:
    """As an array of struct sock_filter."""
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
