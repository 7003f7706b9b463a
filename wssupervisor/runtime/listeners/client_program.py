"""The steering program's choice by the client's address: rendezvous hashing. Pure.

Each slot gets a score from the address and a seed of its own, and the highest score wins. A client
comes to the same slot for as long as the table names that slot, and if the table loses or gains a
slot, only that slot's clients move. Nothing is remembered anywhere, and group indexes, which may
change, decide nothing: seeds come from the slots' inodes.
"""

import hashlib
from collections.abc import Mapping

from wssupervisor.config.parsers import CLIENT_WORKERS_MAX
from wssupervisor.runtime.kernel.bpf import (
    EXCLUSIVE_OR,
    EXCLUSIVE_OR_X,
    JUMP_ABOVE_X,
    JUMP_ALWAYS,
    JUMP_EQUAL,
    LOAD_BYTE,
    LOAD_CONSTANT,
    LOAD_MEMORY,
    LOAD_MEMORY_X,
    LOAD_WORD,
    MULTIPLY,
    NETWORK,
    RETURN_A,
    SHIFT_RIGHT,
    SOURCE_OFFSETS,
    STORE,
    TO_X,
    Instruction,
)

_HASH, _BEST, _INDEX = range(3)
"""BPF scratch words: the mixed address, the highest score so far, and that score's index."""
_FIRST, _SECOND = 0x7FEB352D, 0x846CA68B
"""Multipliers of lowbias32 (shifts 16, 15, 16): each input bit changes half of all output bits."""

_WORDS = {4: 1, 6: 4}
"""Length of an address in 32-bit words, by IP version."""


def choice_by_client(
    weights: Mapping[int, int], identities: Mapping[int, int]
) -> list[Instruction]:
    """Return instructions that choose a client's index; each index gets clients by its weight.

    `identities`: for each index, a number of its slot that stays the same when indexes change.
    Raises ValueError.
    """
    seats = [
        (index, _seed(identities[index], nth))
        for index, weight in sorted(weights.items())
        for nth in range(weight)
    ]
    if len(seats) > CLIENT_WORKERS_MAX:
        raise ValueError(
            f'balance = "client" takes at most {CLIENT_WORKERS_MAX} workers, not {len(seats)}'
        )
    program = [*_mixed_address(), (STORE, 0, 0, _HASH)]
    for nth, (index, seed) in enumerate(seats):
        program += _score(seed)
        if nth:
            program += [(LOAD_MEMORY_X, 0, 0, _BEST), (JUMP_ABOVE_X, 0, 3, 0)]
        program += [(STORE, 0, 0, _BEST), (LOAD_CONSTANT, 0, 0, index), (STORE, 0, 0, _INDEX)]
    return [*program, (LOAD_MEMORY, 0, 0, _INDEX), (RETURN_A, 0, 0, 0)]


def _seed(identity: int, nth: int) -> int:
    digest = hashlib.blake2b(f"{identity}.{nth}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def _score(seed: int) -> list[Instruction]:
    """Load a slot's score into A, without the last shift: high bits decide a comparison."""
    return [
        (LOAD_MEMORY, 0, 0, _HASH),
        (EXCLUSIVE_OR, 0, 0, seed),
        (MULTIPLY, 0, 0, _FIRST),
        *_folded(15),
        (MULTIPLY, 0, 0, _SECOND),
    ]


def _mixed_address() -> list[Instruction]:
    """Load the source address into A, each of its bits spread over all 32."""
    six, four = _mixed_words(6), _mixed_words(4)
    return [
        (LOAD_BYTE, 0, 0, NETWORK),
        (SHIFT_RIGHT, 0, 0, 4),
        (JUMP_EQUAL, 0, len(six) + 1, 6),
        *six,
        (JUMP_ALWAYS, 0, 0, len(four)),
        *four,
    ]


def _mixed_words(version: int) -> list[Instruction]:
    source_at, _ = SOURCE_OFFSETS[version]
    program: list[Instruction] = []
    for word in range(_WORDS[version]):
        load: Instruction = (LOAD_WORD, 0, 0, NETWORK + source_at + 4 * word)
        if word:
            program += [(STORE, 0, 0, _HASH), load, (LOAD_MEMORY_X, 0, 0, _HASH)]
            program.append((EXCLUSIVE_OR_X, 0, 0, 0))
        else:
            program.append(load)
        program += [*_folded(16), (MULTIPLY, 0, 0, _FIRST), *_folded(15)]
        program += [(MULTIPLY, 0, 0, _SECOND), *_folded(16)]
    return program


def _folded(shift: int) -> list[Instruction]:
    return [(TO_X, 0, 0, 0), (SHIFT_RIGHT, 0, 0, shift), (EXCLUSIVE_OR_X, 0, 0, 0)]
