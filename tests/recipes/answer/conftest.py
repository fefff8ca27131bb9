"""Fixtures of the tests of answers."""

from ...asked import builds, own_cache, run  # noqa: F401
