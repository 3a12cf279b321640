"""The detector with a CLIP that knows shapes: loading it, and what it finds where."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import cv2
import numpy as np
import pytest
import torch

from guardian_cli.detectors.clip import ClipDetector, Prompts, load_clip
from guardian_cli.detectors.clip.architecture import DEFAULT, DEFAULT_HUB_ENTRY
from guardian_cli.detectors.clip.tower import Preprocessing, build_tower, cut_views, normalise
from guardian_cli.errors import MissingError, UsageError
from guardian_cli.prompts import DEFAULT_PROMPTS
from tests.tiny_clip import LABELS, MODEL, Label, Place, TinyClip, draw_frame, draw_sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.tiny_clip import Picture

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny-clip")]

RED_STAR: Label = ("red", "star")
PLACES: tuple[Place, ...] = get_args(Place)
SIZES = [(640, 360), (360, 640), (320, 240), (240, 320), (480, 480), (786, 336), (1920, 300)]


def load(tiny: TinyClip, checkpoint: Path | None = None, **options: object) -> ClipDetector:
    prompts = {"nsfw": Prompts(tiny.positive, tiny.negative)}
    settings: dict[str, object] = {"model_config": tiny.config, "text_cache": None, **options}
    return load_clip(tiny.name, str(checkpoint or tiny.checkpoint), prompts, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def detector(tiny_clip: TinyClip) -> ClipDetector:
    return load(tiny_clip, precision="fp32")


def scores(detector: ClipDetector, frames: Sequence[Picture]) -> list[float]:
    answer = detector.score(frames)
    assert answer.failure is None
    return [frame["nsfw"] for frame in answer.scores]


def as_jpeg(frame: Picture) -> Picture:
    _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 40])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


def test_it_says_who_it_is(detector: ClipDetector) -> None:
    assert detector.info.name == "clip"
    assert detector.info.category is None
    assert detector.info.model == "tiny/tiny.pt"
    assert tuple(detector.categories) == ("nsfw",)
    assert (detector.short_side_px, detector.batch_size, detector.concurrency) == (64, 32, 1)
    assert detector.summary() is None
    assert detector.score([]).scores == ()


def test_drawings_it_has_not_seen_separate(detector: ClipDetector) -> None:
    rng = np.random.default_rng(99)
    hot = scores(detector, [draw_sample(rng, RED_STAR) for _ in range(100)])
    assert np.mean(np.array(hot) > 0.8) >= 0.95
    for label in LABELS:
        if label != RED_STAR:
            cold = scores(detector, [draw_sample(rng, label) for _ in range(50)])
            assert np.mean(np.array(cold) < 0.2) >= 0.8, label


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_no_part_of_a_frame_goes_unseen(detector: ClipDetector, size: tuple[int, int]) -> None:
    hot = [draw_frame(RED_STAR, size=size, place=place) for place in PLACES]
    found = scores(detector, [*hot, *map(as_jpeg, hot)])
    assert min(found) > 0.8, dict(zip(PLACES, found, strict=False))
    cold = scores(detector, [draw_frame(label, size=size) for label in (("blue", "circle"), None)])
    assert max(cold) < 0.2


def test_a_star_anywhere_along_a_wide_frame_is_found(detector: ClipDetector) -> None:
    from tests.tiny_clip import draw_background, draw_shape

    frames = []
    for centre_x in np.linspace(72, 640 - 72, 25):
        frame = draw_background(np.random.default_rng(0), 640, 360)
        draw_shape(frame, "star", "red", (float(centre_x), 180), 72)
        frames.append(frame)
    assert min(scores(detector, frames)) > 0.8


def test_a_batch_scores_as_its_frames_do(detector: ClipDetector) -> None:
    frames = [draw_frame(label, size=size) for size in SIZES[:4] for label in LABELS]
    assert len(frames) > 20
    alone = [scores(detector, [frame])[0] for frame in frames]
    assert scores(detector, frames) == pytest.approx(alone, abs=1e-3)


def test_slivers_and_specks_are_scored_too(detector: ClipDetector) -> None:
    sizes = [(2, 2), (1920, 16), (16, 1920), (1, 1), (3, 4000)]
    found = scores(detector, [np.zeros((h, w, 3), np.uint8) for w, h in sizes])
    assert all(0 <= score <= 1 for score in found)


def test_safetensors_score_the_same(tiny_clip: TinyClip, detector: ClipDetector) -> None:
    other = load(tiny_clip, tiny_clip.safetensors, precision="fp32")
    frames = [draw_frame(label) for label in LABELS]
    assert other.info.model == "tiny/tiny.safetensors"
    assert scores(other, frames) == scores(detector, frames)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_agrees(tiny_clip: TinyClip, detector: ClipDetector, precision: str) -> None:
    half = load(tiny_clip, precision=precision)
    assert half.precision == precision
    rng = np.random.default_rng(5)
    frames = [draw_sample(rng, label) for label in LABELS for _ in range(8)]
    difference = np.abs(np.array(scores(half, frames)) - np.array(scores(detector, frames)))
    assert np.median(difference) < 0.005
    assert np.mean(difference < 0.1) >= 0.95


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_says_how_far_it_may_be_off(
    tiny_clip: TinyClip, detector: ClipDetector, precision: str
) -> None:
    half = load(tiny_clip, precision=precision)
    rng = np.random.default_rng(6)
    frames = [draw_sample(rng, label) for label in LABELS for _ in range(24)]
    exact, answer = scores(detector, frames), half.score(frames)
    for rough, off_by, score in zip(answer.scores, answer.errors, exact, strict=True):
        assert abs(rough["nsfw"] - score) <= off_by["nsfw"] + 1e-6
    again = half.score_fp32(frames)
    assert [frame["nsfw"] for frame in again.scores] == pytest.approx(exact, abs=1e-6)
    assert again.errors == ()
    assert detector.score(frames[:2]).errors == ()


def test_weights_that_changed_are_not_mixed_with_those_in_use(
    tiny_clip: TinyClip, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.pt"
    mine.write_bytes(tiny_clip.checkpoint.read_bytes())
    half = load(tiny_clip, mine, precision="bf16")
    mine.write_bytes(tiny_clip.checkpoint.read_bytes())
    answer = half.score_fp32([draw_frame(None)])
    assert answer.failure is not None
    assert "changed while it was in use" in answer.failure
    mine.unlink()
    assert half.score_fp32([draw_frame(None)]).scores == [{}]


def test_auto_takes_half_precision_only_where_the_model_bears_it(tiny_clip: TinyClip) -> None:
    """Eight channels err too much; what `auto` takes then is exact, on every processor."""
    auto = load(tiny_clip, precision="auto", device="cpu")
    assert auto.precision == "fp32"
    assert auto.score([draw_frame(None)]).errors == ()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_vision_transformer_in_half_precision_looks_the_same_way(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    import open_clip

    vision = {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 16}
    (tmp_path / "vit.json").write_text(json.dumps({**MODEL, "vision_cfg": vision}))
    open_clip.add_model_config(tmp_path / "vit.json")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        visual = open_clip.create_model("vit", load_weights=False).visual.eval()
    settings = Preprocessing((64, 64), open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    cut, _ = cut_views([draw_frame(label, size=(90, 90)) for label in LABELS], settings)
    views = normalise(cut, settings)
    with torch.inference_mode():
        full = visual(views)
        half = visual.to(dtype)(views.to(dtype)).float()
    assert torch.nn.functional.cosine_similarity(full, half).min() > 0.999


def test_several_categories_are_scored_at_once(tiny_clip: TinyClip) -> None:
    prompts = {
        "stars": Prompts(tiny_clip.positive, tiny_clip.negative),
        "circles": Prompts(("a blue circle",), ("a red star", "a red square", "nothing")),
    }
    both = load_clip(
        "tiny",
        str(tiny_clip.checkpoint),
        prompts,
        model_config=tiny_clip.config,
        text_cache=None,
    )
    star, circle = both.score([draw_frame(RED_STAR), draw_frame(("blue", "circle"))]).scores
    assert star["stars"] > 0.8 > 0.2 > star["circles"]
    assert circle["circles"] > 0.8 > 0.2 > circle["stars"]


def test_text_features_are_kept_on_disk(tiny_clip: TinyClip, tmp_path: Path) -> None:
    first = load(tiny_clip, text_cache=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    written = file.stat().st_mtime_ns
    second = load(tiny_clip, text_cache=tmp_path)
    assert file.stat().st_mtime_ns == written
    frames = [draw_frame(label) for label in LABELS]
    assert scores(first, frames) == scores(second, frames)
    both = {
        "other": Prompts(("a blue star",), ("nothing",)),
        "nsfw": Prompts(tiny_clip.positive, tiny_clip.negative),
    }
    more = load_clip(
        "tiny",
        str(tiny_clip.checkpoint),
        both,
        model_config=tiny_clip.config,
        text_cache=tmp_path,
    )
    # Only what is new is encoded, and what was there scores the same to the last bit.
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert file.stat().st_mtime_ns == written
    assert scores(more, frames) == scores(first, frames)


def test_numbers_that_are_none_are_a_failure_not_a_score(
    tiny_clip: TinyClip, tmp_path: Path
) -> None:
    weights = torch.load(tiny_clip.checkpoint, weights_only=True)["state_dict"]
    weights["visual.attnpool.c_proj.bias"].fill_(float("nan"))
    torch.save(weights, tmp_path / "nan.pt")
    answer = load(tiny_clip, tmp_path / "nan.pt").score([draw_frame(RED_STAR)])
    assert list(answer.scores) == [{}]
    assert answer.failure is not None


def test_a_closed_detector_scores_nothing(tiny_clip: TinyClip) -> None:
    detector = load(tiny_clip)
    detector.close()
    detector.close()
    with pytest.raises(RuntimeError, match="closed"):
        detector.score([draw_frame(None)])


def test_the_models_name_need_not_be_the_files(tiny_clip: TinyClip, tmp_path: Path) -> None:
    config = tmp_path / "any-name.json"
    config.write_bytes(tiny_clip.config.read_bytes())
    assert load(tiny_clip, model_config=config).info.model == "tiny/tiny.pt"
    prompts = {"nsfw": Prompts(tiny_clip.positive, tiny_clip.negative)}
    unnamed = load_clip(
        DEFAULT[0], str(tiny_clip.checkpoint), prompts, model_config=config, text_cache=None
    )
    assert unnamed.info.model == "any-name/tiny.pt"


def test_a_hub_style_config_brings_its_own_preprocessing(
    tiny_clip: TinyClip, tmp_path: Path
) -> None:
    import open_clip

    config = tmp_path / "tiny.json"
    picture = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear"}
    model = json.loads(tiny_clip.config.read_text())
    config.write_text(json.dumps({"model_cfg": model, "preprocess_cfg": picture}))
    load(tiny_clip, model_config=config)
    clip = open_clip.create_model("tiny", load_weights=False, force_preprocess_cfg=picture)
    tower = build_tower(clip, "cpu", "fp32")
    assert tower.preprocessing == Preprocessing((64, 64), (0.5,) * 3, (0.25,) * 3, "bilinear")


class Harmful:
    """Pickled code; loading it would make the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("empty.pt", "no checkpoint at all"),
        ("random.pt", "damaged"),
        ("cut.pt", "the file is damaged"),
        ("list.pt", "no checkpoint at all"),
        ("code.pt", "never run"),
        ("pickle.bin", "never run"),
        ("other.pt", "other shapes or names"),
        ("random.safetensors", "no safetensors file"),
        ("cut.safetensors", "no safetensors file"),
    ],
)
def test_a_checkpoint_that_is_none_is_one_clear_line(
    tiny_clip: TinyClip, tmp_path: Path, name: str, says: str
) -> None:
    path, touched = tmp_path / name, tmp_path / "touched"
    match name:
        case "list.pt":
            torch.save([1, 2], path)
        case "code.pt":
            torch.save({"state_dict": Harmful(touched)}, path)
        case "pickle.bin":
            path.write_bytes(pickle.dumps(Harmful(touched)))
        case "other.pt":
            torch.save({"weight": torch.zeros(3)}, path)
        case "cut.pt" | "cut.safetensors":
            path.write_bytes((tiny_clip.config.parent / f"tiny{path.suffix}").read_bytes()[:9999])
        case _:
            path.write_bytes(b"" if name == "empty.pt" else np.random.default_rng(0).bytes(5000))
    with pytest.raises(UsageError, match=says) as caught:
        load(tiny_clip, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not touched.exists()


@pytest.mark.parametrize(
    ("model", "pretrained", "says"),
    [
        ("tiny", "/nowhere/x.pt", "/nowhere/x.pt: no such file"),
        ("tiny", "x.safetensors", "x.safetensors: no such file"),
        ("tiny", ".", "is a folder"),
        ("tiny", "openai", "tiny has no pretrained tag openai"),
    ],
)
def test_weights_that_are_not_there_are_an_error(
    tiny_clip: TinyClip, model: str, pretrained: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        load_clip(model, pretrained, {}, model_config=tiny_clip.config)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a JSON file"),
        ("[]", "holds no mapping"),
        ("{}", "embed_dim, vision_cfg and text_cfg"),
        ('{"embed_dim": 8, "vision_cfg": {"x": 1}, "text_cfg": {}}', "describes no model"),
    ],
)
def test_a_config_that_is_none_is_one_clear_line(
    tiny_clip: TinyClip, tmp_path: Path, text: str, says: str
) -> None:
    config = tmp_path / "mine.json"
    config.write_text(text)
    with pytest.raises(UsageError, match=says):
        load(tiny_clip, model_config=config)
    config.unlink()
    with pytest.raises(UsageError, match="no such file"):
        load(tiny_clip, model_config=config)


def test_unknown_models_and_tags_name_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"unknown model ViT-B32; did you mean ViT-B-32\?"):
        load_clip("ViT-B32", DEFAULT[1], DEFAULT_PROMPTS)
    with pytest.raises(UsageError, match=r"no pretrained tag laion2b \(it has: openai, .*b79k"):
        load_clip("ViT-B-32", "laion2b", DEFAULT_PROMPTS)
    with pytest.raises(UsageError, match="unknown model hf-hub:x/y"):
        load_clip("hf-hub:x/y", "any", DEFAULT_PROMPTS)


def test_weights_of_another_architecture_are_refused(tiny_clip: TinyClip) -> None:
    with pytest.raises(UsageError, match=r"not a checkpoint of RN50: .*other shapes") as caught:
        load_clip("RN50", str(tiny_clip.checkpoint), DEFAULT_PROMPTS, text_cache=None)
    assert caught.value.hint is not None


def test_a_tokenizer_from_the_hub_is_missing_not_a_crash(tiny_clip: TinyClip) -> None:
    with pytest.raises(MissingError, match="tokenizer of its own"):
        load_clip("ViT-B-16-SigLIP", str(tiny_clip.checkpoint), {}, offline=True)


def test_the_defaults_place_on_the_hub_is_open_clips() -> None:
    import open_clip

    assert open_clip.get_pretrained_cfg(*DEFAULT)["hf_hub"] == DEFAULT_HUB_ENTRY


def test_loading_and_scoring_leave_the_streams_alone(tiny_clip: TinyClip) -> None:
    code = (
        "from guardian_cli.detectors.clip import load_clip, Prompts\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "prompts = {'x': Prompts(('a',), ('b',))}\n"
        f"clip = load_clip('tiny', {str(tiny_clip.checkpoint)!r}, prompts,\n"
        f"    model_config=Path({str(tiny_clip.config)!r}), offline=True, text_cache=None)\n"
        "clip.score([np.zeros((90, 160, 3), np.uint8)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=dict(os.environ),
    )
    assert (done.stdout, done.stderr) == ("", "")
