from __future__ import annotations

import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.files import (
    hold_lock,
)
from guardian_cli.lifecycle.local.workspace import (
    EndpointState,
    Layout,
    LocalDeployment,
    own_port,
    read_key,
    read_state,
    write_state,
)

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_copied_endpoint_has_no_port_yet_and_a_moved_one_keeps_its(tmp_path: Path) -> None:
    home, copy, moved = tmp_path / "home", tmp_path / "copy", tmp_path / "moved"
    home.mkdir()
    state = EndpointState("e", 18000, home=str(home))
    write_state(home, state)
    assert own_port(home, state) == 18000
    shutil.copytree(home, copy)
    assert own_port(copy, state) == 0
    # The same folder by another name, as it is seen through a mount.
    (tmp_path / "link").symlink_to(home)
    assert own_port(tmp_path / "link", state) == 18000
    home.rename(moved)
    assert own_port(moved, state) == 18000
    # What an older guardian wrote tells no home.
    assert own_port(copy, EndpointState("e", 18000)) == 18000


def test_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    one = LocalDeployment("version-1", "m", "1", "b", "models/b", "ready", "ds3", 2, {"a": "ö"})
    state = EndpointState("e", 18000, {"x": "y"}, {"version-1": 100}, {"version-1": one})
    assert read_state(tmp_path) is None
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert mode(tmp_path / "endpoint.json") == 0o600


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2}', "[]", '{"format": 1, "x": 2}'])
def test_a_damaged_state_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "endpoint.json").write_text(text)
    with pytest.raises(PlatformError, match=r"endpoint\.json"):
        read_state(tmp_path)


def test_the_workspace_is_private_and_stays_out_of_version_control(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(PlatformError, match="no workspace"):
        layout.require()
    layout.make_folders()
    layout.require()
    assert {mode(folder) for folder in layout.folders} == {0o700}
    assert (layout.root / ".gitignore").read_text().endswith("*\n")


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "a\n", "é"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        Layout(tmp_path).endpoint(name)


def test_a_file_where_the_workspace_should_be_is_no_bug(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.root.write_text("mine")
    with pytest.raises(PlatformError, match=r"\.guardian cannot be made: File exists") as caught:
        layout.make_folders()
    assert caught.value.hint
    with pytest.raises(PlatformError, match="cannot be opened"), hold_lock(layout.lock("e")):
        pass
    assert layout.root.read_text() == "mine"


def test_a_lost_key_is_an_error_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="key cannot be read") as caught:
        read_key(tmp_path)
    assert "--rotate-key" in (caught.value.hint or "")
