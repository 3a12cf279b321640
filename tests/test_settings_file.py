"""`write_keys`: sets keys in guardian.yaml, and leaves every other byte."""

from __future__ import annotations

import copy
import stat
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.errors import ConfigError
from guardian_cli.settings_file import write_keys

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {("target",): "azure", ("azure", "workspace"): "ws", ("azure", "location"): "eastus2"}
READ = {"target": "azure", "azure": {"workspace": "ws", "location": "eastus2"}}


def write(path: Path, text: str, values: dict[tuple[str, ...], str] = NAMES) -> str:
    path.write_bytes(text.encode())
    assert write_keys(path, values)
    written = path.read_bytes().decode()
    assert not write_keys(path, values), "a second time changes nothing"
    assert path.read_bytes().decode() == written
    return written


def test_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "guardian.yaml"
    assert write_keys(path, NAMES)
    assert yaml.safe_load(path.read_text()) == READ
    assert [one.name for one in tmp_path.iterdir()] == ["guardian.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "---\n",
        "target: local",
        "azure:\n",
        "azure:   # the names\n",
        "azure: ~\ntarget: 'local'\n",
        "azure: {}\n",
        "{}\n",
        "{target: local, azure: {workspace: old}}\n",
        "azure:\n    # by four\n    workspace: old   # a comment\n\ntarget: local # another\n",
        "azure: {workspace: old, # why\n  location: west}\n",
    ],
)
def test_it_reads_back_and_comments_stay(tmp_path: Path, text: str) -> None:
    written = write(tmp_path / "guardian.yaml", text)
    assert yaml.safe_load(written) == READ
    for line in text.splitlines():
        if "#" in line:
            assert line[line.index("#") :] in written


def test_every_other_line_stays_to_the_byte(tmp_path: Path) -> None:
    text = (
        "# head\nscan: {every:  0.5}   # odd  spaces\n\nazure:\n  workspace: old # mine\nfusion:\n"
    )
    written = write(tmp_path / "guardian.yaml", text, {("azure", "workspace"): "new"})
    assert written == text.replace("old", "new")
    windows = text.replace("\n", "\r\n")
    written = write(tmp_path / "guardian.yaml", windows, {("azure", "location"): "west"})
    assert written.replace("  location: west\r\n", "") == windows


def test_mode_and_link_stay(tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("target: local\n")
    real.chmod(0o640)
    link = tmp_path / "guardian.yaml"
    link.symlink_to(real)
    assert write_keys(link, NAMES)
    assert link.is_symlink()
    assert yaml.safe_load(real.read_text()) == READ
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "text",
    [
        "common: &all {workspace: old}\nazure: *all\n",
        "target: &t local\nother: *t\n",
        "{target: local,}\n",
        "target: local\n...\n",
        'azure:\n  "workspace": |\n    old\n  location: west\n',
        "- a list\n",
        "a: [\n",
    ],
)
def test_what_it_cannot_set_alone_it_refuses_and_leaves(tmp_path: Path, text: str) -> None:
    path = tmp_path / "guardian.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"guardian\.yaml"):
        write_keys(path, NAMES)
    assert path.read_text() == text
    assert [one.name for one in tmp_path.iterdir()] == ["guardian.yaml"]


KEYS = st.sampled_from(["target", "azure", "workspace", "location", "scan", "a b", "x:y", "7"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)
VALUES = st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.lists(TEXTS, max_size=2))
SETTINGS = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=4),
    lambda inner: st.dictionaries(KEYS, st.one_of(VALUES, inner), max_size=4),
    max_leaves=12,
)
PATHS = st.lists(KEYS, min_size=1, max_size=2).map(tuple)


@pytest.mark.slow
@given(
    SETTINGS,
    st.dictionaries(PATHS, TEXTS, min_size=1, max_size=3),
    st.sampled_from([None, True, False]),
)
def test_reading_back_gives_what_was_set_and_all_else_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    settings: dict[str, Any],
    values: dict[tuple[str, ...], str],
    flow: bool | None,
) -> None:
    path = tmp_path_factory.mktemp("settings") / "guardian.yaml"
    path.write_text(yaml.safe_dump(settings, default_flow_style=flow, allow_unicode=True))
    try:
        write_keys(path, values)
    except ConfigError:
        # A key that is to be a value and a section at once, or a form that cannot be edited alone.
        assert yaml.safe_load(path.read_text()) == settings
        return
    wanted = copy.deepcopy(settings)
    for keys, value in values.items():
        inner = wanted
        for key in keys[:-1]:
            inner = (
                inner.setdefault(key, {}) if isinstance(inner.get(key), dict) else put(inner, key)
            )
        if str(inner.get(keys[-1])) != value:
            inner[keys[-1]] = value
    assert yaml.safe_load(path.read_text()) == wanted


def put(inner: dict[str, Any], key: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    inner[key] = made
    return made
