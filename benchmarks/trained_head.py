"""What a trained head adds to CLIP where it runs on CLIP's features: of the model alone, in %.

    python benchmarks/trained_head.py [--rounds 5] [--json FILE]

Batches of 16:9 frames through CLIP, with the head's share measured within the same calls: the
machine's noise from one call to the next is larger than what is looked for. Decoding, which a scan
has as well, is not counted, so the share of a scan's time is smaller still. A head of one's own
endpoint, or with a tower of its own, costs as much as CLIP itself: the ratio beside it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from benchmarks import material
from benchmarks.measuring import arguments, save, show

from guardian_cli.config import ClipSection
from guardian_cli.detectors.base import DetectorOptions
from guardian_cli.detectors.clip import load_clip
from guardian_cli.detectors.model import load_model_detector
from guardian_cli.prompts import DEFAULT_PROMPTS
from guardian_cli.serving.format import save_model
from guardian_cli.serving.networks import ClipHead
from guardian_cli.settings import calm_threads
from guardian_cli.training.model.backbones import ClipBackbone, load_tower


def main() -> None:
    wanted = arguments(__doc__ or "").parse_args()
    model, batch, calls = "ViT-B-32", 16, 8
    if wanted.quick:
        model, batch, calls, wanted.rounds = "ViT-S-32-alt", 2, 1, 1
    calm_threads()
    checkpoint = str(material.checkpoint(model))
    pictures = list(material.draw_frames((398, 224), batch, seed=0))
    shares, own = [], []
    with tempfile.TemporaryDirectory() as scratch:
        cache, folder = Path(scratch) / "cache", Path(scratch) / "head"
        clip = load_clip(model, checkpoint, DEFAULT_PROMPTS, offline=True, text_cache=cache)
        tower = load_tower(ClipSection(model=model, pretrained=checkpoint), print, offline=True)
        backbone = ClipBackbone(tower)
        whole = ClipHead(tower.config, backbone.hidden)
        whole.tower.load_state_dict(tower.module.state_dict())
        card = replace(backbone.card("nsfw-detector", "nsfw"), threshold=0.5)
        save_model(folder, card, whole)
        head = load_model_detector("nsfw", str(folder), DetectorOptions())
        head.follow([clip])
        assert head.source is clip, "the head does not run on CLIP's features"
        apart = load_model_detector("nsfw", str(folder), DetectorOptions())
        apart.follow([])
        clip.score(pictures)
        for _ in range(wanted.rounds):
            clip_s = head_s = 0.0
            for _ in range(calls):
                begun_s = time.perf_counter()
                features = clip.score(pictures).features
                seen_s = time.perf_counter()
                head.score_features(features)
                head_s += time.perf_counter() - seen_s
                clip_s += seen_s - begun_s
            shares.append(head_s / clip_s)
            begun_s = time.perf_counter()
            apart.score(pictures)
            own.append((time.perf_counter() - begun_s) * calls / clip_s)
    added = statistics.median(shares)
    ratios = {
        "CLIP with a head / CLIP": 1 + added,
        "CLIP with a model apart / CLIP": 1 + statistics.median(own),
    }
    show("ratios, medians over rounds", [[k, v] for k, v in ratios.items()], ["", "ratio"])
    print(f"a head on CLIP's features adds {added:.2%} ({clip.precision}, {torch.__version__})")
    save(wanted.json, {"shares": shares, "ratios": ratios})


if __name__ == "__main__":
    main()
