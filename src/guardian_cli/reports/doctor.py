"""What `guardian doctor` found: as lines, and as guardian.doctor/1."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from guardian_cli import __version__

if TYPE_CHECKING:
    from guardian_cli.doctor import Diagnosis


def doctor_text(diagnosis: Diagnosis) -> str:
    """A line for each thing, and what to type below it where something is amiss."""
    wide = max(len(check.name) for check in diagnosis.checks)
    lines = []
    for check in diagnosis.checks:
        lines.append(f"{check.state:<7}  {check.name:<{wide}}  {check.detail}")
        if check.hint:
            lines.append(f"{'':<7}  {'':<{wide}}  type: {check.hint}")
    return "\n".join(lines)


def doctor_document(diagnosis: Diagnosis) -> str:
    """The same as one JSON document."""
    document: dict[str, Any] = {
        "schema": "guardian.doctor/1",
        "guardian": __version__,
        # What is only slow or unused does not keep a scan from running.
        "ready": all(check.state != "missing" for check in diagnosis.checks),
        "checks": [
            {
                "name": check.name,
                "state": check.state,
                "detail": check.detail,
                "hint": check.hint,
            }
            for check in diagnosis.checks
        ],
        "versions": {name: version or None for name, version in diagnosis.versions.items()},
    }
    return json.dumps(document, indent=2, ensure_ascii=False)
