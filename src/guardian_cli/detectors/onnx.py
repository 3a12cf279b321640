"""What the detectors on onnxruntime share: weights inside an installed package, and a session."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from guardian_cli.errors import MissingError
from guardian_cli.settings import count_cores

# More of them make networks of a few million weights no faster, and decoders want cores as well.
MAX_THREADS = 4
# Larger batches are no faster on a CPU, and onnxruntime uses several cores by itself.
BATCH_SIZE = 8


def find_packaged_model(package: str, file: str, hint: str) -> Path:
    """The ONNX file in an installed package. Raises MissingError where it can't be had."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingError(f"{package.replace('_', '-')} is not installed", hint=hint)
    if find_spec("onnxruntime") is None:
        raise MissingError(f"{package.replace('_', '-')} needs onnxruntime", hint=hint)
    model = Path(found.submodule_search_locations[0]) / file
    if not model.is_file():
        raise MissingError(f"{package.replace('_', '-')} is installed without {file}", hint=hint)
    return model


def open_session(model: Path, threads: int | None = None) -> Any:
    """Open an ONNX file on the CPU; `threads` bounds onnxruntime's."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or min(count_cores(), MAX_THREADS)
    # Threads that spin while they wait would take the cores from the decoders.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        str(model), sess_options=options, providers=["CPUExecutionProvider"]
    )
