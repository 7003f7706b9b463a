"""Run the daemon, and have it killed right before one of its actions.

    python dies_at.py FILE ARGUMENT...

While FILE exists, it says how many actions are still performed. The daemon is as it always is, but
for this count.
"""

import os
import signal
import sys
from pathlib import Path

from wssupervisor import daemon
from wssupervisor.fleet.actions import Action
from wssupervisor.runtime.supervisor import Supervisor


def main() -> int:
    file = Path(sys.argv.pop(1))
    perform = Supervisor.perform

    def counted(self: Supervisor, action: Action) -> None:
        if file.exists():
            left = int(file.read_text())
            if left == 0:
                file.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            file.write_text(str(left - 1))
        perform(self, action)

    Supervisor.perform = counted  # type: ignore[method-assign]
    return daemon.main()


if __name__ == "__main__":
    sys.exit(main())
