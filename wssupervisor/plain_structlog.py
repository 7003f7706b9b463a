"""structlog without rich, which it imports where it is installed, to show tracebacks.

In the daemon rich would cost 4 MB and a tenth of its start, and show the values of variables.
Import this before structlog.
"""

import sys

_WITHOUT = "rich"
_before = sys.modules.get(_WITHOUT)
sys.modules[_WITHOUT] = None  # type: ignore[assignment] # so that an import of it fails

import structlog  # noqa: E402

del sys.modules[_WITHOUT]
if _before is not None:
    sys.modules[_WITHOUT] = _before

__all__ = ["structlog"]
