"""Reading a live stream with OpenCV. Only the worker process imports this module."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import cv2  # noqa: TID253 - only the worker process imports this module
import numpy as np  # noqa: TID253 - as above

from guardian_cli.media.worker.coverage import Promise
from guardian_cli.media.worker.logs import SCALER
from guardian_cli.media.worker.probe import Survey
from guardian_cli.media.worker.readers import ConversionError
from guardian_cli.media.worker.sampling import frame_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from guardian_cli.media.worker.logs import Log
    from guardian_cli.media.worker.readers import ReaderOptions

_MOST_STAMP_S = 1e9


class OpenCvReader:
    """One VideoCapture. A grab fails both at the end and on a packet that the decoder refuses."""

    def __init__(self, options: ReaderOptions, log: Log) -> None:
        self._grabbed = 0
        self._log = log
        entries = "|".join(f"{name};{value}" for name, value in options.options)
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = entries
        timeout_ms = int(options.open_timeout_s * 1000)
        parameters = [cv2.CAP_PROP_N_THREADS, options.threads]
        parameters += [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeout_ms]
        parameters += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeout_ms]
        self._capture = cv2.VideoCapture(options.url, cv2.CAP_FFMPEG, parameters)

    @property
    def opened(self) -> bool:
        """Say whether VideoCapture took the source."""
        return bool(self._capture.isOpened())

    def number(self, name: int) -> float:
        """Return a CAP_PROP_ number, 0.0 where it makes no sense."""
        value = float(self._capture.get(name))
        return value if np.isfinite(value) else 0.0

    @property
    def stamp_s(self) -> float | None:
        """The presentation stamp; OpenCV gives 0 for none, so only the first may be 0."""
        stamp_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if not abs(stamp_s) < _MOST_STAMP_S or (stamp_s == 0 and self._grabbed > 1):
            return None
        return stamp_s

    def grab(self) -> bool:
        """Decode the next frame."""
        grabbed = bool(self._capture.grab())
        self._grabbed += grabbed
        return grabbed

    def retrieve(self) -> NDArray[np.uint8]:
        """Return the picture. On a failed conversion OpenCV says True and gives a stale one."""
        self._log.read()
        done, image = self._capture.retrieve()
        if self._log.read()[SCALER]:
            raise ConversionError
        if not done or image is None or image.ndim != 3 or image.shape[2] != 3:
            raise ConversionError
        return np.asarray(image, dtype=np.uint8)

    def close(self) -> None:
        """Release the capture."""
        self._capture.release()


def describe_capture(reader: OpenCvReader) -> Survey:
    """Tell of a source what an open capture knows; nothing of its packets or its length."""
    letters = int(reader.number(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=False)
    rotation = round(reader.number(cv2.CAP_PROP_ORIENTATION_META)) % 360
    width = int(reader.number(cv2.CAP_PROP_FRAME_WIDTH))
    height = int(reader.number(cv2.CAP_PROP_FRAME_HEIGHT))
    parts = reader.number(cv2.CAP_PROP_SAR_NUM), reader.number(cv2.CAP_PROP_SAR_DEN)
    return Survey(
        codec=letters.decode("ascii", "replace").strip("\0 ").casefold() or None,
        width=height if rotation % 180 else width,
        height=width if rotation % 180 else height,
        rotation=rotation,
        aspect=parts[0] / parts[1] if min(parts) > 0 else 1.0,
        interval_s=frame_interval(reader.number(cv2.CAP_PROP_FPS)),
        promise=Promise(),
    )
