"""`python -m guardian_cli.lifecycle.local.trial FOLDER`: load a model, score one picture.

In a process of its own, so that a model that crashes or eats memory takes no server with it.
"""

from __future__ import annotations

import faulthandler
import logging
import sys
from pathlib import Path

from guardian_cli.lifecycle.probe import draw_probe
from guardian_cli.serving.model import load_model

logger = logging.getLogger("guardian.trial")


def main(folder: Path) -> int:
    """Try a model; what is wrong goes to the log."""
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        scorer = load_model(folder)
        score = scorer.score([draw_probe()])[0]
    except Exception:  # a model may raise anything: the trial is there to see it
        logger.exception("the model failed its trial")
        return 1
    card = scorer.card
    logger.info("%s (%s) loads and scores: %.4f", card.model, card.architecture, score)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
