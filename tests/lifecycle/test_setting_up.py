from __future__ import annotations

from guardian_cli.lifecycle.platform import WorkspaceOptions
from guardian_cli.lifecycle.setting_up import set_up
from tests.lifecycle.fake_platform import FakePlatform, FakeReporter

OPTIONS = WorkspaceOptions()


def test_what_is_missing_is_made_once() -> None:
    platform, reporter = FakePlatform(), FakeReporter()
    platform.world.parts.add("folder")
    foretold = set_up(platform, OPTIONS, [], reporter, change=False)
    assert (foretold.created, foretold.dry_run) == (("registry",), True)
    assert platform.world.parts == {"folder"}
    done = set_up(platform, OPTIONS, [], reporter, change=True)
    assert (done.created, done.workspace.existing) == (("registry",), ("folder",))
    again = set_up(platform, OPTIONS, [], reporter, change=True)
    assert (again.created, again.workspace.existing) == ((), ("folder", "registry"))
    assert platform.calls == ["create_workspace"]
