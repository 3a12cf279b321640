"""What the detectors on onnxruntime share: weights from an installed package, and a session."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.base import Answer, DetectorInfo, DetectorSpec
from guardian_cli.errors import MissingError
from guardian_cli.settings import count_cores

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.detectors.base import DetectorOptions
    from guardian_cli.settings import Settings

# More of them make networks of a few million weights no faster, and decoders want cores as well.
MAX_THREADS = 4
# Larger batches are no faster on a CPU, and onnxruntime uses several cores by itself.
BATCH_SIZE = 8


class OnnxDetector(ABC):
    """A detector of nsfw whose ONNX file is in a package. One call of `score` at a time.

    `packaged` is the package, the file in it, and the hint for when it is not installed.
    """

    info: DetectorInfo
    short_side_px: int
    packaged: tuple[str, str, str]
    categories: Sequence[str] = ("nsfw",)
    batch_size = BATCH_SIZE
    concurrency = 1
    without_bars = True

    @classmethod
    def specs(cls, _settings: Settings, _options: DetectorOptions) -> list[DetectorSpec]:
        """The one detector there is. Raises MissingError where its package is not installed."""
        find_packaged_model(*cls.packaged)
        return [DetectorSpec(cls.info, cls.categories, cls.short_side_px, cls)]

    def __init__(self, threads: int | None = None) -> None:
        """Open the ONNX file on the CPU; `threads` bounds onnxruntime's. Raises MissingError."""
        model = find_packaged_model(*self.packaged)
        self._session: Any = open_session(model, threads)
        self.info = replace(self.info, weights=hashlib.sha256(model.read_bytes()).hexdigest())

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's first output for a batch."""
        if self._session is None:
            raise RuntimeError("the detector is closed")
        outputs: list[NDArray[np.float32]] = self._session.run(
            None, {self._session.get_inputs()[0].name: inputs}
        )
        return outputs[0]

    @abstractmethod
    def score(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """Score upright BGR frames (H x W x 3, uint8) for nsfw, each in 0..1."""

    def score_fp32(self, images: Sequence[NDArray[np.uint8]]) -> Answer:
        """The same: no score here is an approximation."""
        return self.score(images)

    def summary(self) -> str | None:
        """Nothing to say."""
        return None

    def close(self) -> None:
        """Let the model go."""
        self._session = None


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
