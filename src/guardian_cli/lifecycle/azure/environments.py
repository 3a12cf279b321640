"""The environments that scoring and training run in; a version is a digest of what is in it."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import requires
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# Microsoft's base image for CPU instances; what is needed on top of it stands below.
BASE_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:latest"
SERVER = "azureml-inference-server-http==1.5.1"
_SERVING = (
    "numpy",
    "pillow",
    "safetensors",
    # Builds for CPUs: a tenth of the size of those that bring CUDA along.
    "pytorch-cpu>=2.5",
    "torchvision",
)


def serving_environment() -> Any:
    """Return the environment of every endpoint."""
    pip = [SERVER, "open_clip_torch>=3.3,<4"]
    what = "What guardian's scoring script needs, on a CPU."
    return _pinned("guardian-serving", _SERVING, pip, what)


def training_environment() -> Any:
    """Return the environment of a training: guardian's own libraries, as its package names them."""
    pip = sorted(one for one in requires("guardian-cli") or () if "extra ==" not in one)
    return _pinned("guardian-training", (), pip, "What guardian's training needs.")


def _pinned(name: str, conda: Sequence[str], pip: Sequence[str], what: str) -> Any:
    from azure.ai.ml.entities import Environment

    packages = {
        "name": name,
        "channels": ["conda-forge"],
        "dependencies": ["python=3.11", "pip", *conda, {"pip": list(pip)}],
    }
    content = json.dumps([BASE_IMAGE, packages], sort_keys=True)
    return Environment(
        name=name,
        version=hashlib.sha256(content.encode()).hexdigest()[:12],
        image=BASE_IMAGE,
        conda_file=packages,
        description=what,
    )
