"""Start a program that the kernel refuses something: one system call is EPERM.

    python forbidden.py steering|passrights|pidfd_getfd PROGRAM ARGUMENT...

By a seccomp filter, as a sandbox would do it; nothing else is different. Steering is
setsockopt(SO_ATTACH_REUSEPORT_CBPF), passrights setsockopt(SO_PASSRIGHTS), which kernels before
6.16 do not know.
"""

import ctypes
import os
import platform
import struct
import sys

SETSOCKOPT = {"x86_64": 54, "aarch64": 208}[platform.machine()]
PIDFD_GETFD = 438
SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, SO_PASSRIGHTS = 1, 51, 83
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, EPERM = 0x7FFF0000, 0x00050001
NUMBER_AT, ARGUMENTS_AT = 0, 16
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06


FORBIDDEN = {
    "steering": (
        (NUMBER_AT, SETSOCKOPT),
        (ARGUMENTS_AT + 8, SOL_SOCKET),
        (ARGUMENTS_AT + 16, SO_ATTACH_REUSEPORT_CBPF),
    ),
    "passrights": (
        (NUMBER_AT, SETSOCKOPT),
        (ARGUMENTS_AT + 8, SOL_SOCKET),
        (ARGUMENTS_AT + 16, SO_PASSRIGHTS),
    ),
    "pidfd_getfd": ((NUMBER_AT, PIDFD_GETFD),),
}


def filter_program(what: str) -> bytes:
    """struct sock_filter: load a word of seccomp_data, compare it, allow or refuse."""
    wanted = FORBIDDEN[what]
    code = []
    for at, (offset, value) in enumerate(wanted):
        to_allow = 2 * (len(wanted) - at - 1) + 1
        code += [(LOAD, 0, 0, offset), (JUMP_EQUAL, 0, to_allow, value)]
    code += [(RETURN, 0, 0, EPERM), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    code = filter_program(sys.argv[1])
    buffer = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(
        struct.pack("HP", len(code) // 8, ctypes.addressof(buffer))
    )
    for arguments in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0),
    ):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl")
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
