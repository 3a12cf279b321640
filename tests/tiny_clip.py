"""A CLIP that knows something, small enough to train in a test: coloured shapes and their captions.

`tiny_clip` is a session fixture (imported by conftest.py). It trains through open_clip's own code
path: its model from a JSON, its tokenizer, its loss, a checkpoint that `--pretrained` reads.
The drawing functions serve every test that needs a picture or a video with something to find.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

Shape = Literal["star", "circle", "square"]
Colour = Literal["red", "blue"]
Place = Literal["centre", "left-edge", "right-edge", "top-edge", "bottom-edge", "corner"]
Label = tuple[Colour, Shape] | None

BGR: dict[Colour, tuple[int, int, int]] = {"red": (40, 40, 220), "blue": (210, 90, 30)}
LABELS: tuple[Label, ...] = (
    *((colour, shape) for colour in get_args(Colour) for shape in get_args(Shape)),
    None,
)
TEMPLATES = ("{}", "a picture of {}", "a drawing of {}")
NOTHING = ("a plain background", "an empty picture", "nothing")
POSITIVE = ("a red star", "a picture of a red star", "a drawing of a red star")
NEGATIVE = (
    "a red circle",
    "a red square",
    "a blue star",
    "a blue circle",
    "a blue square",
    "a plain background",
    "nothing",
)
SIDE_PX = 64
MODEL = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": SIDE_PX,
        "layers": [1, 1, 1, 1],
        "width": 8,
        "head_width": 32,
    },
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    # Trained CLIPs end near 100; starting high lets a few hundred steps tell shapes apart.
    "init_logit_scale": 3.6,
}


@dataclass(frozen=True, slots=True)
class TinyClip:
    """Where the trained model lies and what to ask it."""

    config: Path
    checkpoint: Path
    safetensors: Path
    name: str = "tiny"
    positive: tuple[str, ...] = POSITIVE
    negative: tuple[str, ...] = NEGATIVE


def draw_shape(
    image: Picture,
    shape: Shape,
    colour: Colour,
    centre_px: tuple[float, float],
    radius_px: float,
    *,
    angle_rad: float = 0.0,
    stretch: float = 1.0,
) -> None:
    """Draw into a BGR picture; `stretch` widens the shape and flattens it by as much."""
    import cv2
    import numpy as np

    points = np.array(_outline(shape))
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    points = points @ np.array([[cos, sin], [-sin, cos]]) * radius_px
    points = points * [math.sqrt(stretch), 1 / math.sqrt(stretch)] + np.array(centre_px)
    cv2.fillPoly(image, [np.round(points * 16).astype(np.int32)], BGR[colour], cv2.LINE_AA, 4)


def draw_background(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Greyish, and one of: plain, a gradient, noise, blotches, stripes."""
    import cv2
    import numpy as np

    base = np.clip(rng.integers(30, 230) + rng.integers(-35, 36, 3), 0, 255)
    picture = np.empty((height, width, 3))
    picture[:] = base
    match int(rng.integers(5)):
        case 1:
            ramp = np.linspace(0, 1, width)[None, :, None]
            picture += ramp * rng.integers(-80, 80, 3)
        case 2:
            picture += rng.normal(0, rng.uniform(5, 30), picture.shape)
        case 3:
            size = int(rng.integers(3, 9))
            small = rng.normal(0, 35, (size, size, 3))
            picture += cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        case 4:
            step = int(rng.integers(6, 20))
            picture[:, (np.arange(width) // step) % 2 == 0] += rng.integers(-40, 40, 3)
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_sample(rng: np.random.Generator, label: Label) -> Picture:
    """A square picture as the tiny CLIP sees one, SIDE_PX wide: any place, size, background."""
    import cv2
    import numpy as np

    side = 2 * SIDE_PX
    picture = draw_background(rng, side, side)
    if label is not None:
        colour, shape = label
        radius = rng.uniform(0.14, 0.31) * side
        margin = radius * rng.uniform(0.9, 1.0)
        x, y = rng.uniform(margin, side - margin, 2)
        angle, stretch = rng.uniform(-0.25, 0.25), rng.uniform(0.8, 1.25)
        draw_shape(picture, shape, colour, (x, y), radius, angle_rad=angle, stretch=stretch)
    small = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:
        _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 90))])
        small = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
    return np.asarray(small, dtype=np.uint8)


def draw_frame(
    label: Label,
    *,
    size: tuple[int, int] = (640, 360),
    place: Place = "centre",
    radius: float = 0.2,
    seed: int = 0,
) -> Picture:
    """A frame with one shape, `radius` being a share of the shorter side; `size` is (w, h)."""
    import numpy as np

    width, height = size
    picture = draw_background(np.random.default_rng(seed), width, height)
    if label is not None:
        colour, shape = label
        radius_px = radius * min(size)
        draw_shape(picture, shape, colour, _centre(place, size, radius_px), radius_px)
    return picture


def frame_times(fps: float, seconds: float, *, vfr: bool = False) -> list[float]:
    """When the frames of a video are shown; with `vfr` the gaps run from a half to two frames."""
    if not vfr:
        return [index / fps for index in range(round(seconds * fps))]
    times, at, index = [], 0.0, 0
    while at < seconds:
        times.append(round(at, 3))
        at += (0.5, 2.0, 1.0, 1.5)[index % 4] / fps
        index += 1
    return times


def write_video(
    path: Path,
    *,
    fps: int = 10,
    seconds: float = 12.0,
    hot: tuple[float, float] | None = (7.0, 9.0),
    place: Place = "centre",
    size: tuple[int, int] = (640, 360),
    vfr: bool = False,
    label: Label = ("red", "star"),
    bars: tuple[int, int] = (0, 0),
    seed: int = 0,
) -> list[float]:
    """Write an H.264 video in which `label` is seen from hot[0] until before hot[1], at `place`.

    Before and after, a blue circle drifts over the same background. `bars` are black rows at top
    and bottom and columns at both sides; shapes are drawn over them. Returns the frames' times.
    """
    import av
    import numpy as np

    times = frame_times(fps, seconds, vfr=vfr)
    background = draw_background(np.random.default_rng(seed), *size)
    for axis, depth in enumerate(bars):
        lines = background.swapaxes(0, axis)
        lines[:depth] = lines[len(lines) - depth :] = 0
    radius_px = 0.2 * min(size)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for time_s in times:
            picture = background.copy()
            if hot is not None and label is not None and hot[0] <= time_s < hot[1]:
                colour, shape = label
                draw_shape(picture, shape, colour, _centre(place, size, radius_px), radius_px)
            else:
                along = 0.25 + 0.5 * time_s / seconds
                draw_shape(picture, "circle", "blue", (along * size[0], size[1] / 2), radius_px)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return times


def train_tiny_clip(folder: Path, *, steps: int = 300, seed: int = 0) -> TinyClip:
    """Train and save as .pt and .safetensors, next to the model's JSON; 10 to 20 s on two cores."""
    import torch
    from safetensors.torch import save_file

    tiny = TinyClip(folder / "tiny.json", folder / "tiny.pt", folder / "tiny.safetensors")
    tiny.config.write_text(json.dumps(MODEL), encoding="utf-8")
    threads = torch.get_num_threads()
    # Two threads that wait for each other take minutes on a busy machine, one takes what it needs.
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _train(tiny, steps, seed)
    torch.set_num_threads(threads)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, tiny.safetensors)
    # The .pt comes into being last and at once: where it is, all of it is.
    torch.save({"name": "tiny", "epoch": 1, "state_dict": weights}, folder / "part")
    (folder / "part").replace(tiny.checkpoint)
    return tiny


@pytest.fixture(scope="session")
def tiny_clip() -> TinyClip:
    """The trained tiny CLIP."""
    return trained_tiny_clip()


def trained_tiny_clip() -> TinyClip:
    """The tiny CLIP, trained once for all workers and for later runs of the same code."""
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    folder = Path(__file__).resolve().parent.parent / "build" / f"tiny-clip-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "trained"
        if not done.exists():
            train_tiny_clip(folder)
            done.touch()
    return TinyClip(folder / "tiny.json", folder / "tiny.pt", folder / "tiny.safetensors")


def _outline(shape: Shape) -> list[tuple[float, float]]:
    """Corners on the unit circle, the first one up."""
    count = {"star": 10, "circle": 64, "square": 4}[shape]
    turn = math.pi / 4 if shape == "square" else 0.0
    corners = []
    for index in range(count):
        angle = 2 * math.pi * index / count - math.pi / 2 + turn
        reach = 0.42 if shape == "star" and index % 2 else 1.0
        corners.append((reach * math.cos(angle), reach * math.sin(angle)))
    return corners


def _centre(place: Place, size: tuple[int, int], radius_px: float) -> tuple[float, float]:
    width, height = size
    x = {"left-edge": radius_px, "corner": width - radius_px, "right-edge": width - radius_px}
    y = {"top-edge": radius_px, "corner": height - radius_px, "bottom-edge": height - radius_px}
    return x.get(place, width / 2), y.get(place, height / 2)


def _caption(rng: np.random.Generator, label: Label) -> str:
    if label is None:
        return NOTHING[int(rng.integers(len(NOTHING)))]
    return TEMPLATES[int(rng.integers(len(TEMPLATES)))].format(f"a {label[0]} {label[1]}")


def _train(tiny: TinyClip, steps: int, seed: int) -> Any:
    import numpy as np
    import open_clip
    import torch

    open_clip.add_model_config(tiny.config)
    model: Any = open_clip.create_model("tiny", load_weights=False).train()
    tokenizer = open_clip.get_tokenizer("tiny")
    model.visual.to(memory_format=torch.channels_last)
    # Learning 49,408 word vectors takes most of a step; random ones do for twenty words.
    model.token_embedding.weight.requires_grad_(False)
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=5e-3, weight_decay=0.02, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 5e-3, total_steps=steps, pct_start=0.15
    )
    loss_of = open_clip.ClipLoss()
    for images, captions in _batches(np.random.default_rng(seed), steps):
        image_features = model.encode_image(images, normalize=True)
        different = sorted(set(captions))
        rows = [different.index(caption) for caption in captions]
        text_features = model.encode_text(tokenizer(different), normalize=True)[rows]
        # Each group holds every label once: two pictures of one label must not repel each other.
        groups = zip(
            image_features.split(len(LABELS)), text_features.split(len(LABELS)), strict=True
        )
        loss = sum(loss_of(image, text, model.logit_scale.exp()) for image, text in groups)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 5.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def _batches(
    rng: np.random.Generator, steps: int, groups: int = 6, pool: int = 300
) -> Iterator[tuple[torch.Tensor, Sequence[str]]]:
    """Images (groups * labels, 3, side, side), normalised as CLIP wants them, and captions."""
    import numpy as np
    import open_clip
    import torch

    drawn = [[draw_sample(rng, label) for _ in range(pool)] for label in LABELS]
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    for _ in range(steps):
        picked = [pictures[rng.integers(pool)] for _ in range(groups) for pictures in drawn]
        batch = np.stack(picked)[..., ::-1]
        flip = -1 if rng.random() < 0.5 else 1
        tensor = torch.from_numpy(batch[:, :, ::flip].copy()).permute(0, 3, 1, 2).float() / 255
        captions = [_caption(rng, label) for _ in range(groups) for label in LABELS]
        yield ((tensor - mean) / std).contiguous(memory_format=torch.channels_last), captions
