"""The test application that also writes numbered lines, as its environment says.

$LINES in all, of $WIDTH bytes each, $BURST at once, with $PAUSE seconds in between.
"""

import os
import runpy
import sys
import threading
import time
from pathlib import Path


def write() -> None:
    lines, width = int(os.environ["LINES"]), int(os.environ["WIDTH"])
    burst, pause = int(os.environ["BURST"]), float(os.environ["PAUSE"])
    filler = "x" * (width - 9)
    for at in range(0, lines, burst):
        data = "".join(f"{number:07} {filler}\n" for number in range(at, min(at + burst, lines)))
        view = memoryview(data.encode())
        while view:
            view = view[os.write(1, view) :]
        time.sleep(pause)
    os.write(1, b"that was all\n")


threading.Thread(target=write, daemon=True).start()
application = Path(os.environ["APPLICATION"])
sys.argv = [str(application), "well"]
runpy.run_path(str(application), run_name="__main__")
