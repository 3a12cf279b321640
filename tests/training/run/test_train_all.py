"""Which trainings are begun at all."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from guardian_cli.console import Console
from guardian_cli.errors import UsageError
from guardian_cli.lifecycle.models import Model
from guardian_cli.settings import load_settings
from guardian_cli.training.run.train_all import TrainOptions, train_all
from tests.lifecycle.fake_platform import FakePlatform

NSFW = Model("nsfw-detector", "nsfw", "nsfw-detector-endpoint", "Small", 1)
# A platform without clusters refuses them last: whoever gets there was let through.
THERE = "cluster"


def train(platform: FakePlatform, options: TrainOptions, folder: Path) -> None:
    settings = load_settings(environ={}, folder=folder)
    console = Console(quiet=True, out=StringIO(), err=StringIO())
    train_all(platform, settings, [NSFW], options, console)


@pytest.mark.parametrize(
    ("tags", "simulated", "message"),
    [
        ([], False, "has no clusters"),
        ([{"data": "simulated"}], False, "has no clusters"),
        ([{"data": "/films"}, {"data": "simulated"}], False, r"from real data already \(1\)"),
        # A version of which nobody says what it was trained on may be a real one.
        ([{}], False, r"from real data already \(1\)"),
        ([{"data": "/films"}], True, "has no clusters"),
    ],
)
def test_simulated_data_never_follows_real_data_by_accident(
    tmp_path: Path, tags: list[dict[str, str]], simulated: bool, message: str
) -> None:
    platform = FakePlatform()
    for one in tags:
        platform.registry.register(NSFW.name, Path("good"), one)
    with pytest.raises(UsageError, match=message) as told:
        train(platform, TrainOptions(compute=THERE, simulated=simulated), tmp_path)
    if "already" in message:
        assert told.value.hint == (
            "guardian train nsfw-detector --data PATH, or --simulated if that is meant"
        )


def test_data_and_simulated_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        train(FakePlatform(), TrainOptions(data=tmp_path, simulated=True), tmp_path)
