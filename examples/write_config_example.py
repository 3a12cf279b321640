"""Write guardian.yaml.example: every key at its default, from the defaults themselves.

python examples/write_config_example.py guardian.yaml.example
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from guardian_cli.prompts import DEFAULT_CATEGORIES, READY
from guardian_cli.settings import load_settings

if TYPE_CHECKING:
    from guardian_cli.config import Config

HEAD = """\
# guardian.yaml: every key at its default. Copy what you change; the rest may be left out.
# Flags win over the environment, over .env, over this file. Keys of endpoints never stand here:
# they come from NSFW_MODEL_ENDPOINT_KEY, VIOLENCE_MODEL_ENDPOINT_KEY or MODEL_ENDPOINT_KEY.

# Where custom models live: local (on this machine) or azure.
target: local

scan:
  every: 1.0                    # seconds between two samples, on the video's own clock
  detectors: [clip, endpoint, model]  # of clip, endpoint, model, opennsfw, nudenet
  max_gap: 2.0                  # widest gap in seconds between two samples; default 2 x every
  timeout_s: null               # decoding time for one source; default max(600, 2 x its length)
  memory_mb: 4096               # memory allowed to its decoder
  cascade: {}                   # {nsfw: {below: 0.02}} sends frames that an offline detector of
                                # scan.detectors scores below that to no endpoint for nsfw
  private_addresses: allow      # refuse: fetch nothing from private addresses (docs/scale.md)

clip:
  model: ViT-B-32               # an open_clip architecture
  pretrained: laion2b_s34b_b79k # a pretrained tag, or the path of a checkpoint

# A frame's score: custom * custom model + clip * CLIP where both answered,
# clip_only * CLIP where CLIP is alone. The custom model alone counts as it is.
fusion: {custom: 0.7, clip: 0.3, clip_only: 0.85}

# What a scan is at least (allow, review, block) ...
policy:
  incomplete: review            # ... when not all of it could be seen
  unscored: review              # ... when a category could not be scored
  misconfigured: review         # ... when an endpoint refused the key, the address or the request
  degraded: allow               # ... when a detector failed and others stood in

# Custom models and what they run on. endpoint_name is by default <model>-endpoint. What a version
# must pass before `deploy --promote`, and when `retrain` trains, are sections of their own:
#   gate: {data: labels.csv, max_flips: 2%, min_auc: 0.9}
#   retrain: {data: labels.csv, min_new_labels: 100, on: [labels, drift, age], max_age_days: 180,
#             results: now.jsonl, reference: spring.jsonl}
models:
  nsfw-detector:
    category: nsfw
    instance_type: Standard_DS3_v2
    instance_count: 1
    endpoint_name: null
    gate: null
    retrain: null
  violence-detector:
    category: violence
    instance_type: Standard_DS3_v2
    instance_count: 1
    endpoint_name: null
    gate: null
    retrain: null

# Limits of `guardian monitor`. null: from the reference itself. Fewer samples are too little data.
monitor: {psi: null, wasserstein: null, min_samples: 50}

azure: {subscription_id: null, resource_group: null, workspace: null, location: null}

# A category has thresholds, prompts for CLIP, and the URI of a custom model. Add your own by
# adding prompts; switch one off by `violence: off`, and by nothing else.
categories:
  # Ready to use, with prompts and thresholds of their own, once named (docs/categories.md):
"""


def example_text() -> str:
    """Return the text of guardian.yaml.example."""
    config: Config = load_settings(environ={}, folder=Path("/nonexistent")).config
    lines = [HEAD.rstrip("\n")]
    lines += [
        f"  # {f'{name}: {{}}':28}# review {ready.review}, block {ready.block}"
        for name, ready in READY.items()
        if name not in DEFAULT_CATEGORIES
    ]
    for name, category in config.categories.items():
        lines += [f"  {name}:", f"    review: {category.review}", f"    block: {category.block}"]
        lines += [
            "    calibration: null           # a scale that guardian evaluate --calibrate fitted",
            "    endpoint: null              # or http(s)://…; an empty value switches it off",
            "    model: null                 # or MODEL@champion, MODEL@2, the folder of a model",
        ]
        if category.prompts is not None:
            lines.append("    prompts:")
            for side in ("positive", "negative"):
                lines.append(f"      {side}:")
                lines += [f"        - {_scalar(text)}" for text in getattr(category.prompts, side)]
    return "\n".join(lines) + "\n"


def _scalar(text: str) -> str:
    return yaml.safe_dump(text, width=1000, allow_unicode=True).removesuffix("\n...\n").strip()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("path", type=Path)
    arguments.parse_args().path.write_text(example_text(), encoding="utf-8")
