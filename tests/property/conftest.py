"""Makes the checks of the random walks report values, as those of test modules do."""

import pytest

pytest.register_assert_rewrite("tests.property.checks")
