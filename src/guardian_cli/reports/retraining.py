"""What `guardian retrain` did: guardian.retrain/1, or a few lines for each model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from guardian_cli.reports.document import dumps
from guardian_cli.reports.lifecycle import release_part
from guardian_cli.reports.lifecycle_tables import release_table
from guardian_cli.reports.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guardian_cli.console import Console
    from guardian_cli.watching.retrain import Retraining

SCHEMA = "guardian.retrain/1"


def show_retrainings(
    console: Console, target: str, done: Sequence[Retraining], *, as_json: bool, named: bool
) -> None:
    """Show one model, or all of a `retrain` that named none."""
    if as_json:
        parts = [retraining_part(one) for one in done]
        content = parts[0] if named else {"models": parts}
        console.result(dumps({"schema": SCHEMA, "target": target, **content}, indent=2))
        return
    for one in done:
        state = "due" if one.due else "not due"
        console.result(f"{one.model}  {state}: {visible('; '.join(one.reasons))}")
        if one.release is not None:
            console.show(release_table(one.release))
            console.note(f"hint: guardian deploy {one.model} --version {one.version} --promote")


def retraining_part(one: Retraining) -> dict[str, Any]:
    """Return what guardian.retrain/1 says of one model."""
    situation = one.situation
    return {
        "model": one.model,
        "due": one.due,
        "reasons": list(one.reasons),
        "action": one.action,
        "champion": situation.champion if situation else None,
        "new_labels": situation.new_labels if situation else None,
        "files": situation.files if situation else None,
        "alerts": list(situation.alerts) if situation else [],
        "version": one.version,
        "metrics": dict(one.report.metrics) if one.report else None,
        "figures": [asdict(metrics) for metrics in one.release.metrics] if one.release else [],
        "release": release_part(one.release) if one.release else None,
    }
