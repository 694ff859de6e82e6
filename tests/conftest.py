"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The large corpus beside the checkout; not part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip("data absent: the corpus ../shared/data is not beside this checkout")
    return SHARED_DATA
