"""Fixtures of all tests: releases in a directory of the test's own, and a name nobody else has."""

import itertools
import os
from pathlib import Path

import pytest

from tests.harness.releases import Releases
from tests.harness.settings import Settings

_numbers = itertools.count(1)


def unique_name() -> str:
    return f"t{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path)


@pytest.fixture
def settings(releases: Releases) -> Settings:
    """Of an instance whose current release, "one", behaves well."""
    releases.install("one")
    return Settings(unique_name(), releases)
