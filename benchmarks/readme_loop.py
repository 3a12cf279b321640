"""The rival: the loop that a user writes from open_clip's README.

    python benchmarks/readme_loop.py CHECKPOINT VIDEO... [--every 1.0] [--model ViT-B-32]

The model is loaded once; every frame of a video is read with OpenCV, one a second goes through the
model's own PIL preprocessing (resize, centre crop) and through the image tower, fp32, one at a
time, and is compared with the prompts. Prints one JSON line: seconds to the first score and to the
end.
"""

from __future__ import annotations

import time

BEGUN = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402

import cv2  # noqa: E402
import open_clip  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

PROMPTS = ["a photo of a fight", "a photo of people talking", "a photo of a street"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--load-only", action="store_true")
    wanted = parser.parse_args()
    logging.disable(logging.WARNING)
    model, _, preprocess = open_clip.create_model_and_transforms(
        wanted.model, pretrained=wanted.checkpoint
    )
    if wanted.load_only:
        print(json.dumps({"wall_s": time.perf_counter() - BEGUN}))
        return
    model.eval()
    tokenizer = open_clip.get_tokenizer(wanted.model)
    with torch.no_grad():
        text = model.encode_text(tokenizer(PROMPTS))
        text /= text.norm(dim=-1, keepdim=True)
    first_s, scored = 0.0, 0
    for video in wanted.videos:
        capture = cv2.VideoCapture(video)
        step = max(1, round((capture.get(cv2.CAP_PROP_FPS) or 25) * wanted.every))
        number = 0
        while True:
            done, frame = capture.read()
            if not done:
                break
            if number % step == 0:
                picture = Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
                with torch.no_grad():
                    image = model.encode_image(preprocess(picture).unsqueeze(0))
                    image /= image.norm(dim=-1, keepdim=True)
                    (100.0 * image @ text.T).softmax(dim=-1).tolist()
                first_s = first_s or time.perf_counter() - BEGUN
                scored += 1
            number += 1
        capture.release()
    wall_s = time.perf_counter() - BEGUN
    print(json.dumps({"wall_s": wall_s, "first_s": first_s, "scored": scored}))


if __name__ == "__main__":
    main()
