"""Seats and the actors on them, without a cluster."""

from __future__ import annotations

import threading
from typing import Any

from guardian_cli.cluster.actor import Loaded
from guardian_cli.cluster.connection import Place
from guardian_cli.cluster.session import ClusterSession, Seat


class ReplacingRay:
    """Says of every call that it is done, at the moment in which another actor takes the seat."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        assert timeout == 0
        self._seat.actor, self._seat.loaded = "new", "loading"
        return references, []

    def get(self, reference: Any) -> Loaded:
        assert reference == "loaded"
        return Loaded([], {})


def test_a_seat_does_not_open_because_the_actor_before_had_loaded_its_models() -> None:
    seat = Seat(Place("node", 1), 1, actor="old", loaded="loaded")
    session = object.__new__(ClusterSession)
    session._changed = threading.Condition()
    session._ray = ReplacingRay(seat)
    session._look_at(seat)
    assert not seat.is_open
