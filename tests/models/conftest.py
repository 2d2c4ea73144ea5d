"""The trainings of tiny stages, as the tests of the stages have them."""

from tests.stages.conftest import inputs, train  # noqa: F401
