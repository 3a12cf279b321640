"""The scoring script of Azure's inference server: init() once, run() for each request.

It stands beside the package `guardian_cli` that travels with it; errors are answers, not crashes.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

# The code that travels with the model wins over any that the image has installed.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from guardian_cli.serving.images import BadFrameError
from guardian_cli.serving.model import FrameScorer, load_model
from guardian_cli.serving.protocol import BadRequestError, parse_request

logger = logging.getLogger("azmlinfsrv.guardian")
_loaded: dict[str, FrameScorer] = {}


def init() -> None:
    """Load the model that is mounted at AZUREML_MODEL_DIR; a failure stops the container."""
    _loaded["scorer"] = load_model(Path(os.environ["AZUREML_MODEL_DIR"]))
    card = _loaded["scorer"].card
    logger.info("loaded %s, category %s, %s", card.model, card.category, card.architecture)


def run(raw_data: str) -> Any:
    """Answer a batch of frames: a list of scores, or a message with 400 or 500."""
    from azureml_inference_server_http.api.aml_response import AMLResponse

    body: Any
    try:
        body, status = _loaded["scorer"].score(parse_request(raw_data)), 200
    except (BadRequestError, BadFrameError) as error:
        body, status = {"message": str(error)}, 400
    except Exception as error:  # the edge of the container: a model may raise anything
        logger.exception("the model failed")
        body, status = {"message": f"the model failed: {type(error).__name__}"}, 500
    # Without json_str a list or dict is taken for the bytes of the body.
    return AMLResponse(body, status, json_str=True)
