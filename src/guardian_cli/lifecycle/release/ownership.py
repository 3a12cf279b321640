"""Whose endpoint it is: every verb gets a model's endpoint here, and never another model's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError
from guardian_cli.lifecycle.release.roles import MODEL_TAG

if TYPE_CHECKING:
    from guardian_cli.lifecycle.platform import Endpoint, Platform


def own_endpoint(platform: Platform, model: str, name: str) -> Endpoint | None:
    """Return a model's endpoint, or None. Raises UsageError where it belongs to another model.

    An endpoint that says nothing of a model belongs to whoever names it.
    """
    found = platform.endpoint(name)
    owner = found.tags.get(MODEL_TAG, model) if found else model
    if owner != model:
        raise UsageError(
            f"endpoint {name} belongs to the model {owner}",
            hint=f"give {model} a name of its own: models.{model}.endpoint_name",
        )
    return found
