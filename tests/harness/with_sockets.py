"""Start a program with listening sockets as systemd does: from descriptor 3 on, with LISTEN_PID.

    python with_sockets.py FDS NAMES PROGRAM ARGUMENT...

FDS are the inherited descriptors' numbers (above where they go), with commas between them; NAMES
go with them, with colons between them.
"""

import os
import sys


def main() -> None:
    descriptors = [int(fd) for fd in sys.argv[1].split(",")]
    for offset, fd in enumerate(descriptors):
        os.dup2(fd, 3 + offset, inheritable=True)
        os.close(fd)
    os.environ.update(
        LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(descriptors)), LISTEN_FDNAMES=sys.argv[2]
    )
    os.execvp(sys.argv[3], sys.argv[3:])


if __name__ == "__main__":
    main()
