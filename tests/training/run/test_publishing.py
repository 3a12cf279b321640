"""A run that cannot be logged costs a version only where the version needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.platform import Tracking
from guardian_cli.training.run.publishing import log_run
from tests.lifecycle.fake_platform import FakeReporter

if TYPE_CHECKING:
    from guardian_cli.training.run.directory import RunDirectory

NOWHERE = cast("RunDirectory", None)


def test_without_mlflow_the_version_still_counts() -> None:
    reporter = FakeReporter()
    tracking = Tracking("", takes_artifacts=False, needed=False)
    assert log_run(NOWHERE, {}, tracking, "m", reporter, whole=True) is None
    assert "its numbers stand on the version" in reporter.warnings[0]


@pytest.mark.slow
def test_whatever_goes_wrong_in_there_is_told_or_raised() -> None:
    """A directory that is none makes the log stumble over something that nobody foresaw."""
    reporter = FakeReporter()
    optional = Tracking("no-such-scheme://x", takes_artifacts=False, needed=False)
    assert log_run(NOWHERE, {}, optional, "m", reporter, whole=True) is None
    assert "the run could not be logged" in reporter.warnings[0]
    with pytest.raises((PlatformError, AttributeError)):
        log_run(NOWHERE, {}, Tracking("no-such-scheme://x"), "m", reporter, whole=True)
