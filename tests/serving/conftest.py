"""A tracking store of its own, as the tests of tracking have it."""

from tests.tracking.conftest import excerpt, fakes, shared, tracking  # noqa: F401
