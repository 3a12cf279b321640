from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from typer.main import get_command

from guardian_cli.cli import app, run
from guardian_cli.commands._lifecycle import seconds
from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

ON_A_PLATFORM = {"compare", "setup", "train", "deploy", "endpoints", "rollback", "retrain"}


def test_every_verb_has_the_common_options_and_platforms_a_target() -> None:
    group: Any = get_command(app)
    for name, verb in group.commands.items():
        options = {option for parameter in verb.params for option in parameter.opts}
        assert options >= {"--json", "--config", "--quiet", "-q", "--debug"}, name
        assert ("--target" in options) == (name in ON_A_PLATFORM), name


@pytest.mark.parametrize("before", [True, False])
def test_a_common_option_counts_before_and_behind_the_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], before: bool
) -> None:
    config = ["--config", str(tmp_path / "none.yaml")]
    assert run([*config, "setup"] if before else ["setup", *config]) == 2
    assert "none.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("1.5 m", 90), ("30min", 1800), ("1H", 3600)],
)
def test_times_are_read_as_people_write_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-1", "1d", "1h30m"])
def test_what_is_no_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        seconds(text)
