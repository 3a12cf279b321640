"""Who takes part, and what size frames will be, is known before a model is loaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import open_clip
import pytest

from guardian_cli.detectors.base import DetectorInfo, DetectorOptions, DetectorSpec
from guardian_cli.detectors.clip.architecture import picture_side_px
from guardian_cli.detectors.detector_set import DetectorSet, choose_detectors
from guardian_cli.errors import MissingError, UsageError
from guardian_cli.settings import load_settings
from tests.fakes import FakeDetector

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tiny_clip import TinyClip

ENDPOINT = {"NSFW_MODEL_ENDPOINT": "http://127.0.0.1:9/score"}


def choose(
    folder: Path, text: str = "", environ: dict[str, str] | None = None, **options: object
) -> DetectorSet:
    (folder / "guardian.yaml").write_text(text)
    settings = load_settings(environ=environ or {}, folder=folder)
    return choose_detectors(settings, DetectorOptions(**options))  # type: ignore[arg-type]


def test_no_endpoint_changes_the_frames_that_others_see(
    tmp_path: Path, tiny_clip: TinyClip
) -> None:
    clip = f"clip: {{model: tiny, pretrained: {tiny_clip.checkpoint}}}\n"
    own = tiny_clip.config
    assert choose(tmp_path, clip, model_config=own).short_side_px == 336
    assert choose(tmp_path, clip, ENDPOINT, model_config=own).short_side_px == 336
    without = choose(tmp_path, clip, ENDPOINT, model_config=own, no_endpoints=True)
    assert without.short_side_px == 336
    assert [(gone.status, gone.reason) for gone in without.absent] == [("off", "--no-endpoints")]
    large = DetectorSpec(DetectorInfo("fake", None, "fake"), ("nsfw",), 512, FakeDetector)
    assert DetectorSet(specs=[large]).short_side_px == 512


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50x4", "ViT-B-16-SigLIP", "nllb-clip-base"])
def test_the_size_is_what_open_clip_says(name: str) -> None:
    size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    assert picture_side_px(name, None) == size


def test_no_pretrained_tag_wants_pictures_of_another_size() -> None:
    cfgs = [open_clip.get_pretrained_cfg(*one) for one in open_clip.list_pretrained()]
    assert len(cfgs) > 50
    assert not [cfg for cfg in cfgs if "size" in cfg]


def test_a_config_of_ones_own_may_name_the_size(tmp_path: Path) -> None:
    config = tmp_path / "own.json"
    broken: list[object] = [{"image_size": "large"}, {"image_size": []}, [], None]
    for vision in broken:
        config.write_text(json.dumps({"vision_cfg": vision}))
        assert picture_side_px("own", config) == 224
    for preprocessing, side in (({}, 96), ({"size": [80, 100]}, 80), ({"size": 48}, 48)):
        model = {"vision_cfg": {"image_size": [96, 120]}}
        config.write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocessing}))
        assert picture_side_px("own", config) == side


def test_where_clip_cannot_be_had_the_offline_detector_takes_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = choose(tmp_path, offline=True)
    assert [gone.info.name for gone in chosen.absent] == ["clip"]
    assert [spec.info.name for spec in chosen.specs] == ["opennsfw"]
    assert chosen.short_side_px == 336
    with pytest.raises(MissingError, match=r"nothing can score a frame \(clip: the weights of"):
        choose(tmp_path, "categories: {nsfw: off}\n", offline=True)


def test_a_detector_without_a_category_in_use_is_said_to_be_off(tmp_path: Path) -> None:
    text = "scan: {detectors: [nudenet, endpoint]}\ncategories: {nsfw: off}\n"
    chosen = choose(tmp_path, text, {"VIOLENCE_MODEL_ENDPOINT": "http://127.0.0.1:9/score"})
    assert [spec.info.category for spec in chosen.specs] == ["violence"]
    (gone,) = chosen.absent
    assert (gone.info.name, gone.status) == ("nudenet", "off")
    assert gone.reason == "none of its categories is in use: nsfw"


@pytest.mark.parametrize(
    ("environ", "name", "says"),
    [
        ({}, "version-1", "no endpoint is in use"),
        (ENDPOINT, "a b", "no deployment has such a name"),
    ],
)
def test_a_deployment_needs_an_endpoint_and_a_name(
    tmp_path: Path, environ: dict[str, str], name: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        choose(tmp_path, "scan: {detectors: [nudenet, endpoint]}\n", environ, deployment=name)
