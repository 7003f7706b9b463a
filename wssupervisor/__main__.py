"""`python -m wssupervisor` is the daemon."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the working directory, which may contain modules of any name

from wssupervisor.daemon import main

sys.exit(main())
