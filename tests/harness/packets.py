"""Made packets, and an interpreter of the steering program that looks at them."""

import ipaddress
import struct
from collections.abc import Sequence

from wssupervisor.runtime.kernel import bpf

SIZES = {bpf.LOAD_WORD: 4, bpf.LOAD_HALF: 2, bpf.LOAD_BYTE: 1}
WORD = 0xFFFFFFFF


def packet(host: str, port: int) -> bytes:
    """The network header and the first bytes of TCP's, as far as the program looks."""
    address = ipaddress.ip_address(host)
    head = bytes([address.version << 4])
    if address.version == 4:
        return head.ljust(12, b"\0") + address.packed + bytes(4) + struct.pack("!H", port)
    return head.ljust(8, b"\0") + address.packed + bytes(16) + struct.pack("!H", port)


def run(program: Sequence[bpf.Instruction], data: bytes, random: int = 0) -> int:
    """What the kernel would return; a jump leads forward, and no word is read before it is set."""
    at = a = x = 0
    memory: dict[int, int] = {}
    while True:
        code, jump_true, jump_false, k = program[at]
        at += 1
        match code:
            case bpf.RETURN:
                return k
            case bpf.RETURN_A:
                return a
            case bpf.LOAD_WORD if k == bpf.RANDOM:
                a = random
            case bpf.LOAD_WORD | bpf.LOAD_HALF | bpf.LOAD_BYTE:
                start = k - bpf.NETWORK
                a = int.from_bytes(data[start : start + SIZES[code]], "big")
            case bpf.LOAD_CONSTANT:
                a = k
            case bpf.LOAD_MEMORY:
                a = memory[k]
            case bpf.LOAD_MEMORY_X:
                x = memory[k]
            case bpf.STORE:
                memory[k] = a
            case bpf.TO_X:
                x = a
            case bpf.SHIFT_RIGHT:
                a >>= k
            case bpf.MULTIPLY:
                a = a * k & WORD
            case bpf.MODULO:
                a %= k
            case bpf.EXCLUSIVE_OR:
                a ^= k
            case bpf.EXCLUSIVE_OR_X:
                a ^= x
            case bpf.JUMP_ALWAYS:
                at += k
            case bpf.JUMP_EQUAL:
                at += jump_true if a == k else jump_false
            case bpf.JUMP_AT_LEAST:
                at += jump_true if a >= k else jump_false
            case bpf.JUMP_ABOVE_X:
                at += jump_true if a > x else jump_false
            case _:
                raise AssertionError(f"no such instruction: {code:#x}")
