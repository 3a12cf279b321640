"""The browser, for the tests of this room."""

from __future__ import annotations

from tests.browser import browser  # noqa: F401 - a fixture
