"""What only root can do; in CI, which runs as root, nothing of it is left out."""

import os

import pytest

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become another user, or make a pid namespace"
)
