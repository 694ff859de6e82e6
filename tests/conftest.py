"""Fixtures shared by all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

# Nothing is timed in a test: a busy machine may take its time for an example.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The large corpus beside the checkout; not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("data absent: the corpus ../shared/data is not beside this checkout")
    return SHARED_DATA
