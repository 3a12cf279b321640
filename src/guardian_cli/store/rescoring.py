"""CLIP's scores by prompts that were not there when a store was made, from the features in it.

Features are kept as fp16, and each view's distance from what was rounded is kept with them. A
difference d of unit features moves the log of the odds (see detectors/clip/scoring.py) by at most

    scale * |d| * max over positive p and negative n of |p - n|

because each side moves as an average of its prompts would. So every score here has bounds, and what
they leave open is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from guardian_cli.detectors.clip.architecture import CHECKPOINT_ENDINGS, name_model
from guardian_cli.detectors.clip.cache import Cache
from guardian_cli.detectors.clip.detector import DEFAULT_CACHE, load_texts
from guardian_cli.detectors.clip.scoring import compare_ensembles
from guardian_cli.errors import MissingError, UsageError
from guardian_cli.prompts import Prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.settings import Settings
    from guardian_cli.store.reader import Block
    from guardian_cli.store.rules import Rules

    Floats = NDArray[np.float64]

# What sums of products in fp32, in whatever order, do to the log of the odds.
ARITHMETIC = 1e-3


class Rescored(NamedTuple):
    """CLIP's score of each frame, NaN where it has no features, and its bounds."""

    score: Floats
    low: Floats
    high: Floats


def check_model(
    provenance: Mapping[str, Any], settings: Settings, model_config: Path | None, folder: Path
) -> None:
    """Raise UsageError where the settings name another CLIP than the one in the store."""
    clip, named = provenance["clip"], settings.config.clip.model_fields_set
    if clip is None:
        return
    model, pretrained = settings.config.clip.model, settings.config.clip.pretrained
    # Only what the settings name: a default is no wish for another model.
    other = None
    if "model" in named and name_model(model, model_config) != clip["architecture"]:
        other = f"--model {model}"
    if "pretrained" in named:
        path = Path(pretrained).expanduser()
        if path.is_file():
            if f"sha256:{Cache(DEFAULT_CACHE).digest(path)}" != clip["weights"]:
                other = f"--pretrained {pretrained}"
        elif path.suffix in CHECKPOINT_ENDINGS or len(path.parts) > 1:
            raise UsageError(f"--pretrained {pretrained}: no such file")
        elif pretrained != clip["pretrained"]:
            other = f"--pretrained {pretrained}"
    if other is not None:
        raise UsageError(
            f"{other}: {folder} holds features of {clip['model']}, and of no other model",
            hint="leave it out: the store's own model counts; or scan again with another --store",
        )


@dataclass
class Rescorer:
    """Scores stored features; encodes prompts when they are first needed."""

    settings: Settings
    model_config: Path | None
    folder: Path
    tell: Callable[[str], None]
    _texts: dict[str, dict[str, tuple[Any, Any]]] = field(default_factory=dict)

    def score(self, block: Block, rules: Rules) -> dict[str, Rescored]:
        """Score a block's frames in each category whose prompts are new.

        Raises MissingError where the prompts can't be encoded.
        """
        import numpy as np

        names = [name for name, source in rules.clip.items() if source == "features"]
        if not names:
            return {}
        clip = rules.provenance["clip"]
        features, rounding, begins, counts = block.features()
        if not len(features):
            # Nothing in it could be scored, or not even scanned.
            return {name: Rescored(*[np.full(len(counts), np.nan)] * 3) for name in names}
        texts = self._load(rules, names)
        seen = counts > 0
        views = np.flatnonzero(seen)
        scored = {}
        for name in names:
            logits, spread = compare(features, *texts[name], clip["scale"])
            off_by = clip["scale"] * rounding * spread + ARITHMETIC
            # Half precision may have been off by as much when the features were made.
            off_by += max(clip["logit_errors"].values(), default=0.0)
            bounds = []
            for moved in (logits, logits - off_by, logits + off_by):
                # A frame counts as its worst view.
                score = np.full(len(seen), np.nan)
                score[views] = _largest(_sigmoid(moved), begins[seen], counts[seen])
                bounds.append(score)
            scored[name] = Rescored(*bounds)
        return scored

    def _load(self, rules: Rules, names: list[str]) -> dict[str, tuple[Any, Any]]:
        clip, inputs = rules.provenance["clip"], rules.provenance["inputs"]
        key = f"{clip['weights']} {names}"
        if key in self._texts:
            return self._texts[key]
        section = self.settings.config.clip
        prompts = {}
        for name in names:
            given = rules.config.categories[name].prompts
            if given is not None:
                prompts[name] = Prompts(given.positive, given.negative)
        is_named = "pretrained" in section.model_fields_set
        with TemporaryDirectory(prefix="guardian-") as folder:
            config = self.model_config
            if config is None and inputs["model_config"] is not None:
                config = Path(folder) / f"{clip['architecture']}.json"
                # A custom architecture travels with the store; open_clip wants it as a file.
                config.write_text(inputs["model_config"], encoding="utf-8")
            try:
                texts = load_texts(
                    clip["architecture"],
                    section.pretrained if is_named else clip["pretrained"],
                    prompts,
                    digest=clip["weights"].removeprefix("sha256:"),
                    model_config=config,
                    offline=self.settings.hub_offline,
                    on_download=self.tell,
                )
            except UsageError as error:
                if is_named:
                    raise
                raise MissingError(
                    f"new prompts for {', '.join(names)} need the text half of {clip['model']}: "
                    f"{error}",
                    hint=f"guardian replay {self.folder} --pretrained FILE",
                ) from error
        self._texts[key] = texts
        return texts


def compare(
    features: NDArray[np.float32], positive: Any, negative: Any, scale: float
) -> tuple[Floats, float]:
    """The log of the odds of each view (V,), and the largest distance of a prompt from another."""
    import numpy as np
    import torch

    with torch.inference_mode():
        logits = compare_ensembles(torch.from_numpy(features), positive, negative, scale)
        spread = float(torch.cdist(positive, negative).max())
    return logits.numpy().astype(np.float64), spread


def _sigmoid(values: Floats) -> Floats:
    import numpy as np

    # exp(709) is about the last that a double holds.
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -700.0, 700.0))))


def _largest(values: Floats, begins: NDArray[np.int64], counts: NDArray[np.int64]) -> Floats:
    """The largest of each frame's views; frames may share theirs."""
    import numpy as np

    largest = np.full(len(begins), -np.inf)
    # View by view, all frames at once: frames are many, views of one are few.
    for view in range(int(counts.max(initial=0))):
        has = counts > view
        largest[has] = np.maximum(largest[has], values[begins[has] + view])
    return largest
