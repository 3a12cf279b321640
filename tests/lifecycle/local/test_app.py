"""What waits for the scoring pool is counted until it ends, without a server around it."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from guardian_cli.lifecycle.local.app import AppState, score_body
from guardian_cli.lifecycle.local.loaded_models import LoadedModel, LoadedModels, WeightedRouter
from guardian_cli.serving.model import FrameScorer
from tests.lifecycle.local.endpoints import body_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class SlowScorer(FrameScorer):
    """Scores once it may."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.calls = 0

    def score(self, jpegs: Sequence[bytes]) -> list[float]:
        self.calls += 1
        self.may_end.wait(60)
        return [0.5] * len(jpegs)


async def nothing() -> dict[str, Any]:
    return {}


def test_work_that_timed_out_is_taken_from_the_queue_and_counted_until_it_ends() -> None:
    scorer = SlowScorer()
    models = {"a": LoadedModel("b", logging.getLogger("test"), scorer)}
    loaded = LoadedModels(models, WeightedRouter({"a": 100}, random.Random(1)))
    with ThreadPoolExecutor(1) as pool:
        state = AppState("i", "c", "k", loaded, pool, nothing, lambda: None, timeout_s=0.05)

        async def ask() -> None:
            body = body_of()
            answers = await asyncio.gather(*(score_body(state, None, body) for _ in range(3)))
            assert [answer.status_code for answer in answers] == [408] * 3
            assert state.waiting == 1, "one is being scored still, and holds the only thread"
            scorer.may_end.set()
            await asyncio.to_thread(pool.shutdown)
            # The loop hears of the end in its next rounds.
            for _ in range(3):
                await asyncio.sleep(0)
            assert (state.waiting, scorer.calls) == (0, 1)

        asyncio.run(ask())
