"""What size frames will be is known before a model is loaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import open_clip
import pytest

from guardian_cli.detectors.clip.architecture import picture_side_px
from guardian_cli.detectors.panel import PanelOptions, expected_short_side_px
from guardian_cli.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINT = {"NSFW_MODEL_ENDPOINT": "http://127.0.0.1:9/score"}


def expected(
    folder: Path, environ: dict[str, str], options: PanelOptions, **clip: str
) -> int | None:
    settings = load_settings(environ=environ, folder=folder, flags={"clip": clip})
    return expected_short_side_px(settings, options)


def test_it_is_the_largest_that_anyone_wants(tmp_path: Path) -> None:
    assert expected(tmp_path, {}, PanelOptions()) == 224
    assert expected(tmp_path, ENDPOINT, PanelOptions()) == 336
    assert expected(tmp_path, ENDPOINT, PanelOptions(no_endpoints=True)) == 224
    assert expected(tmp_path, ENDPOINT, PanelOptions(offline=True)) == 224
    assert expected(tmp_path, ENDPOINT, PanelOptions(), model="ViT-B-16-SigLIP-512") == 512


def test_where_only_loading_tells_it_says_so(tmp_path: Path) -> None:
    config = tmp_path / "own.json"
    config.write_text("no JSON")
    assert expected(tmp_path, {}, PanelOptions(model_config=config)) is None
    assert expected(tmp_path, {}, PanelOptions(), model="ViT-B-33") is None
    broken: list[object] = [{}, {"image_size": "large"}, {"image_size": []}, [], None]
    for vision in broken:
        config.write_text(json.dumps({"vision_cfg": vision}))
        assert picture_side_px("own", config) is None


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50x4", "ViT-B-16-SigLIP", "nllb-clip-base"])
def test_it_is_what_open_clip_says(name: str) -> None:
    size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    assert picture_side_px(name, None) == size
