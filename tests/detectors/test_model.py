"""A model in this process: on CLIP's features where they are its own, else as its endpoint."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from guardian_cli.detectors.base import DetectorOptions, ModelFiles
from guardian_cli.detectors.detector_set import choose_detectors
from guardian_cli.detectors.model import ModelDetector, load_model_detector, model_specs
from guardian_cli.errors import UsageError
from guardian_cli.media.jpeg import encode_jpeg
from guardian_cli.serving.format import WEIGHTS_NAME, read_card, write_card
from guardian_cli.serving.images import prepare
from guardian_cli.serving.model import load_model
from guardian_cli.settings import load_settings
from guardian_cli.verdict.thresholds import Thresholds
from tests.detectors.heads import save_head, tiny_detector
from tests.scanning.harness import running_scorer
from tests.scanning.test_scorer import submit
from tests.serving.models import save_constant_model
from tests.tiny_clip import LABELS, draw_frame

if TYPE_CHECKING:
    from pathlib import Path

    from guardian_cli.detectors.clip import ClipDetector
    from guardian_cli.settings import Settings
    from tests.tiny_clip import Picture, Place, TinyClip

pytestmark = pytest.mark.xdist_group("tiny-clip")

ENDPOINT = {"NSFW_MODEL_ENDPOINT": "http://127.0.0.1:9/score"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_clip: TinyClip) -> Path:
    path = tmp_path_factory.mktemp("head") / "mine"
    save_head(path, tiny_clip)
    return path


@pytest.fixture(scope="module")
def clip(tiny_clip: TinyClip) -> ClipDetector:
    return tiny_detector(tiny_clip)


def load(folder: Path, *others: ClipDetector) -> ModelDetector:
    detector = load_model_detector("nsfw", str(folder), DetectorOptions())
    detector.follow(others)
    return detector


def frames() -> list[Picture]:
    shapes: list[tuple[tuple[int, int], Place]] = [
        ((160, 90), "left-edge"),
        ((90, 160), "bottom-edge"),
        ((96, 96), "centre"),
        ((400, 90), "right-edge"),
    ]
    return [
        draw_frame(label, size=size, place=place, radius=0.35, seed=seed)
        for seed, label in enumerate(LABELS)
        for size, place in shapes
    ]


def values(scores: list[dict[str, float]] | object) -> list[float]:
    assert isinstance(scores, list)
    return [one["nsfw"] for one in scores]


def test_a_head_on_clips_features_scores_as_its_endpoint_does(
    folder: Path, clip: ClipDetector
) -> None:
    shared, whole = load(folder, clip), load_model(folder)
    assert shared.source is clip
    pictures = frames()
    found = values(shared.score_features(clip.score(pictures).features).scores)
    views = [
        prepare(Image.fromarray(np.ascontiguousarray(one[:, :, ::-1])), whole.card)
        for one in pictures
    ]
    assert found == pytest.approx(whole.score_views(views), abs=1e-3)
    assert max(found) - min(found) > 0.5


@pytest.mark.slow
def test_a_score_is_the_same_to_the_last_bit_whatever_is_beside_it(
    folder: Path, clip: ClipDetector
) -> None:
    whole, pictures = load_model(folder), frames()
    jpegs = [encode_jpeg(one) for one in pictures]
    assert whole.score(jpegs) == whole.score(jpegs)
    features = clip.score(pictures).features
    shared = load(folder, clip)
    together = values(shared.score_features(features).scores)
    alone = [values(shared.score_features([one]).scores)[0] for one in features]
    assert together == pytest.approx(alone, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [0, 8])
def test_in_half_precision_a_score_is_off_by_no_more_than_it_says(
    tmp_path: Path, tiny_clip: TinyClip, clip: ClipDetector, hidden: int
) -> None:
    save_head(tmp_path / "mine", tiny_clip, hidden)
    fast = tiny_detector(tiny_clip, "bf16")
    rough, exact = load(tmp_path / "mine", fast), load(tmp_path / "mine", clip)
    answer = rough.score_features(fast.score(frames()).features)
    true = values(exact.score_features(clip.score(frames()).features).scores)
    for score, errors, right in zip(values(answer.scores), answer.errors, true, strict=True):
        assert abs(score - right) <= errors["nsfw"]
        assert 0 < errors["nsfw"] < 0.5
    assert not exact.score_features(clip.score(frames()).features).errors


def test_with_another_backbone_it_scores_what_an_endpoint_would(
    tmp_path: Path, tiny_clip: TinyClip, clip: ClipDetector
) -> None:
    card = save_head(tmp_path / "mine", tiny_clip, backbone="of another checkpoint")
    assert card.backbone != clip.backbone
    detector = load(tmp_path / "mine", clip)
    assert detector.source is None
    jpegs = [encode_jpeg(one) for one in frames()]
    assert values(detector.score(frames()).scores) == load_model(tmp_path / "mine").score(jpegs)


def test_where_clip_gives_no_features_the_model_looks_for_itself(
    folder: Path, tmp_path: Path, tiny_clip: TinyClip
) -> None:
    # CLIP's checkpoint goes away once it is loaded, so nothing can be had in fp32 any more.
    own = replace(tiny_clip, checkpoint=tmp_path / "own.pt")
    shutil.copyfile(tiny_clip.checkpoint, own.checkpoint)
    fast = tiny_detector(own, "bf16")
    model, star = load(folder, fast), draw_frame(("red", "star"))
    assert model.source is fast
    own.checkpoint.unlink()
    (right,) = values(load(folder).score([star]).scores)
    answer = fast.score([star])
    (rough,) = values(model.score_features(answer.features).scores)
    fused = 0.7 * rough + 0.3 * values(answer.scores)[0]
    # So close to a threshold that half precision cannot decide.
    limits = {"nsfw": Thresholds(round(fused, 6), 1.0)}
    with running_scorer([fast, model], limits) as scorer:
        frame = submit(scorer, star)
        frame.wait()
    assert "CLIP in fp32" in frame.failures[0]
    assert frame.scores == {0: {}, 1: {"nsfw": right}}


@pytest.mark.slow
def test_one_pass_of_clip_serves_both_also_in_fp32(folder: Path, tiny_clip: TinyClip) -> None:
    fast, star = tiny_detector(tiny_clip, "bf16"), draw_frame(("red", "star"))
    exact, model = tiny_detector(tiny_clip), load(folder, fast)
    (right,) = values(load(folder, exact).score_features(exact.score([star]).features).scores)
    answer = fast.score([star])
    fused = 0.7 * values(model.score_features(answer.features).scores)[0]
    limits = {"nsfw": Thresholds(round(fused + 0.3 * values(answer.scores)[0], 6), 1.0)}
    with running_scorer([model, fast], limits) as scorer:
        frame = submit(scorer, star)
        frame.wait()
    assert frame.scores[0]["nsfw"] == pytest.approx(right, abs=1e-6)
    assert not frame.failures
    assert not any(frame.errors[0].values())
    assert model._whole is None


def test_versions_are_told_apart_by_card_and_weights(tmp_path: Path) -> None:
    save_constant_model(tmp_path / "one")
    one = load(tmp_path / "one")
    card = read_card(tmp_path / "one")
    write_card(tmp_path / "one", replace(card, threshold=0.25))
    other = load(tmp_path / "one")
    save_constant_model(tmp_path / "two", logit=1.0)
    digests = {one.info.weights, other.info.weights, load(tmp_path / "two").info.weights}
    assert len(digests) == 3
    assert one.info.model == "one"


def test_it_is_closed_for_good(tmp_path: Path) -> None:
    save_constant_model(tmp_path / "one")
    detector = load(tmp_path / "one")
    detector.close()
    detector.close()
    with pytest.raises(RuntimeError, match="closed"):
        detector.score([draw_frame(None)])
    with pytest.raises(RuntimeError, match="closed"):
        detector.score_features([])


def settings(folder: Path, model: str, environ: dict[str, str] | None = None) -> Settings:
    (folder / "guardian.yaml").write_text(f"categories: {{nsfw: {{model: {model}}}}}\n")
    return load_settings(environ=environ or {}, folder=folder)


def test_a_model_and_an_endpoint_of_one_category_are_one_too_many(tmp_path: Path) -> None:
    found = settings(tmp_path, "nsfw-detector@1", ENDPOINT)
    with pytest.raises(UsageError, match="which one is meant") as caught:
        choose_detectors(found, DetectorOptions())
    assert "NSFW_MODEL_ENDPOINT" in str(caught.value)
    for off in (DetectorOptions(no_endpoints=True), DetectorOptions(offline=True)):
        (spec,) = model_specs(found, off)
        assert spec.info.model == "nsfw-detector@1"


def test_what_cannot_be_a_model_is_said_in_one_line(tmp_path: Path, tiny_clip: TinyClip) -> None:
    save_constant_model(tmp_path / "cut")
    (tmp_path / "cut" / WEIGHTS_NAME).write_bytes(b"no tensors")
    (tmp_path / "empty").mkdir()
    save_constant_model(tmp_path / "other")
    said = {
        "nowhere": "is no folder, and no MODEL@champion",
        "empty": "empty is no model that guardian can run",
        "cut": "cut can't be loaded",
    }
    for name, words in said.items():
        with pytest.raises(UsageError, match=words) as caught:
            load(tmp_path / name)
        assert caught.value.hint
        assert "\n" not in str(caught.value)
    for name in ("@1", "nsfw-detector@"):
        with pytest.raises(UsageError, match="is no folder, and no MODEL@champion"):
            load_model_detector("nsfw", name, DetectorOptions())
    with pytest.raises(UsageError, match="was trained for nsfw"):
        load_model_detector("violence", str(tmp_path / "other"), DetectorOptions())


def test_a_version_comes_from_the_registry(tmp_path: Path) -> None:
    save_constant_model(tmp_path / "one", logit=2.0)
    asked = []

    def find(named: str) -> ModelFiles:
        asked.append(named)
        return ModelFiles("nsfw-detector@3", tmp_path / "one")

    options = DetectorOptions(find_version=find)
    detector = load_model_detector("nsfw", "nsfw-detector@champion", options)
    assert asked == ["nsfw-detector@champion"]
    assert detector.info.model == "nsfw-detector@3"
    assert len(detector.info.weights or "") == len(hashlib.sha256().hexdigest())
    with pytest.raises(UsageError, match="no registry here"):
        load_model_detector("nsfw", "nsfw-detector@champion", DetectorOptions())


@pytest.mark.parametrize("remote", ["target: azure\n", ""])
def test_offline_no_remote_registry_is_asked(tmp_path: Path, remote: str) -> None:
    text = f"{remote}categories: {{nsfw: {{model: nsfw-detector@1}}}}\n"
    (tmp_path / "guardian.yaml").write_text(text)
    environ = {} if remote else {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    found = load_settings(environ=environ, folder=tmp_path)
    (gone,) = model_specs(found, DetectorOptions(offline=True))
    assert (getattr(gone, "status", None), getattr(gone, "reason", None)) == ("off", "--offline")
