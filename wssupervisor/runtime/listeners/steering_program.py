"""The classic-BPF program that picks a slot for each new connection. Pure.

The kernel runs the program on each SYN; its result is an index into the SO_REUSEPORT group.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wssupervisor.runtime.kernel.bpf import (
    INSTRUCTIONS_MAX,
    JUMP_AT_LEAST,
    JUMP_EQUAL,
    LOAD_BYTE,
    LOAD_HALF,
    LOAD_WORD,
    MODULO,
    NETWORK,
    RANDOM,
    RETURN,
    SHIFT_RIGHT,
    SOURCE_OFFSETS,
    Instruction,
)
from wssupervisor.runtime.listeners.client_program import choice_by_client


@dataclass(frozen=True, slots=True)
class ProbeRule:
    """Connections from this source address and port go to this group index, whatever the table."""

    host: str
    port: int
    index: int


def steering_program(
    weights: Mapping[int, int],
    probes: Sequence[ProbeRule] = (),
    identities: Mapping[int, int] | None = None,
) -> list[Instruction]:
    """Return a program: first the rules of probes, then a weighted choice of an index.

    `weights` maps group index to a positive weight and is not empty. The choice is random, or by
    the client's address if `identities` says which slot each index is. Raises ValueError if the
    kernel would refuse the program.
    """
    if not weights or min(weights.values()) < 1:
        raise ValueError("a steering table needs at least one slot, and weights from 1 on")
    program = [instruction for rule in probes for instruction in _probe(rule)]
    if len(weights) == 1:
        program.append((RETURN, 0, 0, next(iter(weights))))
    elif identities is None:
        program += _random_choice(weights)
    else:
        program += choice_by_client(weights, identities)
    if len(program) > INSTRUCTIONS_MAX:
        raise ValueError(f"{len(program)} instructions; the kernel takes {INSTRUCTIONS_MAX}")
    return program


def _probe(rule: ProbeRule) -> list[Instruction]:
    address = ipaddress.ip_address(rule.host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # on the wire it is IPv4, whatever the socket's family
    source_at, port_at = SOURCE_OFFSETS[address.version]
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


def _random_choice(weights: Mapping[int, int]) -> list[Instruction]:
    *others, (last, _) = sorted(weights.items())
    program = [(LOAD_WORD, 0, 0, RANDOM), (MODULO, 0, 0, sum(weights.values()))]
    reached = 0
    for index, weight in others:
        reached += weight
        program += [(JUMP_AT_LEAST, 1, 0, reached), (RETURN, 0, 0, index)]
    return [*program, (RETURN, 0, 0, last)]
