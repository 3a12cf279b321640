"""The CLIP detector: from what the user names to a model, and from frames to zero-shot scores."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.base import Absent, Answer, DetectorInfo, DetectorSpec
from guardian_cli.detectors.clip.architecture import (
    DEFAULT,
    check_tokenizer,
    find_weights,
    name_model,
    picture_side_px,
    read_architecture,
)
from guardian_cli.detectors.clip.cache import Cache, digest_of, state_of
from guardian_cli.detectors.clip.hardware import choose_device, choose_precision, name_hardware
from guardian_cli.detectors.clip.hub import Hub
from guardian_cli.detectors.clip.loading import map_model
from guardian_cli.detectors.clip.scoring import (
    ALLOWANCE,
    MAX_LOGIT_ERROR,
    PICTURES,
    compare_ensembles,
    measure_errors,
    score_ensembles,
    score_error,
)
from guardian_cli.detectors.clip.speedups import import_open_clip
from guardian_cli.detectors.clip.tower import BATCH_SIZE, build_tower, cut_views, name_backbone
from guardian_cli.errors import GuardianError, MissingError, UsageError
from guardian_cli.prompts import Prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from guardian_cli.detectors.base import DetectorOptions
    from guardian_cli.detectors.clip.architecture import Architecture, Weights
    from guardian_cli.detectors.clip.tower import ImageTower
    from guardian_cli.settings import Settings

    Texts = dict[str, tuple[Tensor, Tensor]]

DEFAULT_CACHE = Path("~/.cache/guardian/text-features")


def clip_specs(settings: Settings, options: DetectorOptions) -> list[DetectorSpec | Absent]:
    """CLIP for the categories that have prompts; the default's weights are had here, or missing."""
    clip = settings.config.clip
    prompts = {
        name: Prompts(category.prompts.positive, category.prompts.negative)
        for name, category in settings.config.categories.items()
        if category.prompts is not None
    }
    if not prompts:
        return []
    model = name_model(clip.model, options.model_config)
    info = DetectorInfo("clip", None, f"{model}/{clip.pretrained.rsplit('/', 1)[-1]}")
    offline = options.offline or settings.hub_offline
    # Another tag's place on the hub is known to open_clip alone, whose import would hold up the
    # decoders; a path is checked when it is loaded.
    if (model, clip.pretrained) == DEFAULT and options.model_config is None:
        try:
            find_weights(*DEFAULT, Hub(), offline=offline, tell=options.on_download)
        except MissingError as error:
            return [Absent(info, "unavailable", str(error), tuple(prompts), error.hint)]
    load = functools.partial(
        load_clip,
        clip.model,
        clip.pretrained,
        prompts,
        model_config=options.model_config,
        device=options.device,
        precision=options.precision,
        offline=offline,
        on_download=options.on_download,
    )
    return [DetectorSpec(info, tuple(prompts), picture_side_px(model, options.model_config), load)]


def load_clip(
    model: str,
    pretrained: str,
    categories: Mapping[str, Prompts],
    *,
    model_config: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    offline: bool = False,
    text_cache: Path | None = DEFAULT_CACHE,
    on_download: Callable[[str], None] = lambda _: None,
) -> ClipDetector:
    """Load a CLIP and encode the prompts of each category.

    `pretrained` is a tag (from the hub's cache, else downloaded, with progress lines to
    `on_download`; `offline` touches no network) or a checkpoint's path.

    Raises UsageError for a model, tag, path, device or precision that can't be meant, and
    MissingError when a tag's weights can't be had; whether they can is settled within 3 seconds.
    """
    if model_config is not None and not model_config.is_file():
        raise UsageError(f"{model_config}: no such file")
    name = name_model(model, model_config)
    weights = find_weights(
        name,
        pretrained,
        Hub(),
        own_config=model_config is not None,
        offline=offline,
        tell=on_download,
    )
    architecture = read_architecture(name, pretrained, model_config)
    check_tokenizer(architecture, offline=offline)
    device = choose_device(device)
    # Before the file is read: what is read later must be the same file.
    cache, state = Cache(text_cache), state_of(weights.path)
    clip = map_model(architecture, weights)
    digest = cache.digest(weights.path)
    keys, texts = _encode_categories(architecture, digest, categories, cache, lambda: clip)
    scale = float(clip.logit_scale.detach().exp())
    load = functools.partial(_load_tower, architecture, weights, device, state)
    chosen, errors = choose_precision(precision, device), {}
    if chosen != "fp32":
        measured = cache.errors(
            {
                name: check_key(keys[name], [*map(len, texts[name])], device, chosen)
                for name in texts
            },
            lambda missing: measure_errors(
                load("fp32"),
                load(chosen),
                {name: _log_odds(texts[name], scale) for name in missing},
            ),
        )
        errors = {name: ALLOWANCE * error for name, error in measured.items()}
        if precision == "auto" and max(errors.values(), default=0.0) > MAX_LOGIT_ERROR:
            chosen, errors = "fp32", {}
    tower = build_tower(clip, device, chosen)
    return ClipDetector(
        DetectorInfo("clip", None, weights.label, digest),
        tower,
        texts,
        scale,
        logit_errors=errors,
        load_fp32=functools.partial(load, "fp32"),
        backbone=name_backbone(digest, architecture, tower.preprocessing),
        cache=cache,
    )


def load_texts(
    model: str,
    pretrained: str,
    categories: Mapping[str, Prompts],
    *,
    digest: str,
    model_config: Path | None = None,
    offline: bool = False,
    on_download: Callable[[str], None] = lambda _: None,
) -> Texts:
    """Encode prompts alone, by the model whose weights have this SHA-256, in hex.

    Weights are only looked for where the prompts are not in the cache. Raises what `load_clip`
    raises, and UsageError for other weights.
    """
    architecture = read_architecture(model, pretrained, model_config)
    check_tokenizer(architecture, offline=offline)
    cache = Cache(DEFAULT_CACHE)

    def load() -> Any:
        weights = find_weights(
            model,
            pretrained,
            Hub(),
            own_config=model_config is not None,
            offline=offline,
            tell=on_download,
        )
        found = cache.digest(weights.path)
        if found != digest:
            raise UsageError(f"{weights.label} has weights {found[:12]}…, not {digest[:12]}…")
        return map_model(architecture, weights)

    return _encode_categories(architecture, digest, categories, cache, load)[1]


def _encode_categories(
    architecture: Architecture,
    digest: str,
    categories: Mapping[str, Prompts],
    cache: Cache,
    load: Callable[[], Any],
) -> tuple[dict[str, str], Texts]:
    """Each category's text features, and what they are remembered under."""
    settings = {**architecture.config, "quick_gelu": architecture.overrides.get("quick_gelu")}
    width = int(architecture.config["embed_dim"])
    tokenizer = functools.cache(lambda: import_open_clip().get_tokenizer(architecture.name))
    clip = functools.cache(load)
    keys: dict[str, str] = {}
    texts: Texts = {}
    # Each set by itself: another category beside it costs nothing, and changes no digit of it.
    for category, (positive, negative) in categories.items():
        prompts = [*positive, *negative]
        key = digest_of([digest, settings, prompts, version("open_clip_torch")])
        encode = functools.partial(_encode_texts, clip, tokenizer, prompts)
        features = cache.text_features(key, prompts, width, encode)
        keys[category] = key
        texts[category] = features[: len(positive)], features[len(positive) :]
    return keys, texts


def check_key(key: str, lengths: Sequence[int], device: str, precision: str) -> str:
    """A digest of all that an error depends on; `key` has weights and prompts in it.

    `lengths` are how many prompts each side has. The processor counts as well: a home can be shared
    by machines, and each computes its own way.
    """
    import torch

    hardware = name_hardware(device)
    return digest_of([key, lengths, hardware, precision, torch.__version__, PICTURES])


class ClipDetector:
    """Zero-shot scores by CLIP, the larger of a frame's views. One call of `score` at a time.

    In half precision a score comes with the error it may have, and `score_fp32` has none.
    """

    def __init__(
        self,
        info: DetectorInfo,
        tower: ImageTower,
        texts: Texts,
        scale: float,
        *,
        logit_errors: Mapping[str, float],
        load_fp32: Callable[[], ImageTower],
        backbone: str = "",
        cache: Cache | None = None,
    ) -> None:
        """Hold an image tower and, for each category, its unit text features (P, D) and (Q, D).

        `logit_errors` says for each category how far the log of the odds may be off, and is empty
        where it is not; else `load_fp32` brings the tower in fp32, once it is needed. `backbone`
        tells the tower from others: see `name_backbone`.
        """
        self.info = info
        self.backbone = backbone
        self._cache = cache or Cache(None)
        self.categories: Sequence[str] = tuple(texts)
        # The model's own picture size: larger frames show it nothing more.
        self.short_side_px = min(tower.preprocessing.size_px)
        self.batch_size = BATCH_SIZE
        # torch spreads a single call over the cores itself.
        self.concurrency = 1
        self.without_bars = True
        self.precision = tower.precision
        self._tower: ImageTower | None = tower
        self._fp32: ImageTower | None = None
        self._load_fp32 = load_fp32
        self._texts = texts
        self.scale = scale
        self.logit_errors = logit_errors

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR frames (H x W x 3, uint8): each category's largest view, in 0..1."""
        answer = self._score(self._tower, images)
        if not self.logit_errors:
            return answer
        if answer.failure is not None:
            # A number too large for half precision may be none in fp32.
            return self.score_fp32(images)
        off_by = self.logit_errors
        errors = [
            {name: score_error(score, off_by[name]) for name, score in scores.items()}
            for scores in answer.scores
        ]
        return replace(answer, errors=errors)

    def score_fp32(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score as `score` does, in fp32. What can't be had any more is an answer that failed."""
        if not self.logit_errors or self._tower is None:
            return self._score(self._tower, images)
        try:
            self._fp32 = self._fp32 or self._load_fp32()
        except (GuardianError, OSError) as error:
            return Answer([{} for _ in images], f"CLIP in fp32: {error}")
        return self._score(self._fp32, images)

    def head_error(self, key: str, log_odds: Callable[[Tensor], Tensor]) -> float:
        """How far the log of a head's odds may be off by half precision, as those of prompts are.

        `log_odds` maps unit features (N, D) to (N,); `key` has the head's weights in it.
        """
        if not self.logit_errors or self._tower is None:
            return 0.0
        fast = self._tower
        known = check_key(digest_of([self.backbone, key]), [], fast.device, fast.precision)
        measured = self._cache.errors(
            {"head": known}, lambda _: measure_errors(self._load_fp32(), fast, {"head": log_odds})
        )
        return ALLOWANCE * measured["head"]

    def summary(self) -> str | None:
        """Nothing to say."""
        return None

    def close(self) -> None:
        """Let the model go."""
        self._tower = self._fp32 = None

    def _score(self, tower: ImageTower | None, images: Sequence[NDArray[np.uint8]]) -> Answer:
        import numpy as np
        import torch

        if tower is None:
            raise RuntimeError("the detector is closed")
        if not images:
            return Answer(())
        frames: list[dict[str, float]] = [{} for _ in images]
        broken = set()
        with torch.inference_mode():
            views, owners = cut_views(images, tower.preprocessing)
            features = tower.features(views)
            rows = features.float().cpu().numpy()
            for name, sides in self._texts.items():
                # A frame counts as its worst view: what is in one corner is in the frame.
                scores = score_ensembles(features, *sides, self.scale).tolist()
                for owner, score in zip(owners, scores, strict=True):
                    frames[owner][name] = max(score, frames[owner].get(name, 0.0))
                    if not math.isfinite(score):
                        broken.add(owner)
        for owner in broken:
            frames[owner].clear()
        return Answer(
            frames,
            "CLIP answered with something that is no number" if broken else None,
            features=[rows[np.equal(owners, number)] for number in range(len(images))],
        )


def _log_odds(sides: tuple[Tensor, Tensor], scale: float) -> Callable[[Tensor], Tensor]:
    return lambda features: compare_ensembles(features, *sides, scale)


def _encode_texts(
    load: Callable[[], Any], tokenizer: Callable[[], Any], prompts: Sequence[str]
) -> Tensor:
    import torch

    clip, tokens = load(), tokenizer()(list(prompts))
    with torch.inference_mode():
        parts = [clip.encode_text(part).float() for part in tokens.split(BATCH_SIZE)]
        return torch.nn.functional.normalize(torch.cat(parts), dim=1)


def _load_tower(
    architecture: Architecture,
    weights: Weights,
    device: str,
    state: tuple[int, ...],
    precision: str,
) -> ImageTower:
    """The image tower once more from the file, which must be the one it was."""

    def check_unchanged() -> None:
        if state_of(weights.path) != state:
            raise MissingError(f"{weights.path} changed while it was in use", hint="run again")

    # Before, so that it costs nothing to find out again for every batch; after, to be sure.
    check_unchanged()
    tower = build_tower(map_model(architecture, weights), device, precision)
    check_unchanged()
    return tower
