"""`python -m wssupervisor` is the daemon."""

import sys

from wssupervisor.daemon import main

sys.exit(main())
