"""Instructions of classic BPF, as linux/filter.h defines them. Pure."""

import struct
from collections.abc import Sequence

LOAD_WORD = 0x20
LOAD_HALF = 0x28
LOAD_BYTE = 0x30
LOAD_CONSTANT = 0x00
LOAD_MEMORY = 0x60
LOAD_MEMORY_X = 0x61
STORE = 0x02
SHIFT_RIGHT = 0x74
MULTIPLY = 0x24
MODULO = 0x94
EXCLUSIVE_OR = 0xA4
EXCLUSIVE_OR_X = 0xAC
TO_X = 0x07
JUMP_ALWAYS = 0x05
JUMP_EQUAL = 0x15
JUMP_AT_LEAST = 0x35
JUMP_ABOVE_X = 0x2D
RETURN = 0x06
RETURN_A = 0x16

RANDOM = 0xFFFFF000 + 56
"""SKF_AD_OFF + SKF_AD_RANDOM: 32 random bits."""
NETWORK = 0xFFF00000
"""SKF_NET_OFF: offsets from here count from the network header."""

SOURCE_OFFSETS = {4: (12, 20), 6: (8, 40)}
"""By IP version: offsets of the source address and (without IP options) of the source port."""

INSTRUCTIONS_MAX = 4096
_INSTRUCTION = struct.Struct("=HBBI")

Instruction = tuple[int, int, int, int]
"""(opcode, jump if true, jump if false, operand)."""


def packed(program: Sequence[Instruction]) -> bytes:
    """Encode the program as an array of struct sock_filter."""
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
