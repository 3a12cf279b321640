"""Which models a verb is about, and the names of their endpoints and deployments. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.config import ModelSection

# Azure's rule for both kinds of names, kept everywhere: what works here can be deployed there.
MAX_NAME_CHARS = 32
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Model:
    """A model of guardian.yaml."""

    name: str
    category: str
    endpoint: str
    instance_type: str
    instance_count: int


def choose_models(sections: Mapping[str, ModelSection], name: str | None) -> list[Model]:
    """Return the model of this name, or all of them.

    Raises UsageError for an unknown one, and for an endpoint's name that no platform takes.
    """
    if name is not None and name not in sections:
        # A low cutoff: of the few names there are, a distant guess still helps.
        near = difflib.get_close_matches(name, sections, n=1, cutoff=0.3)
        known = ", ".join(sections) or "none"
        raise UsageError(
            f"guardian.yaml has no model {name!r}: there is {known}",
            hint=f"did you mean {near[0]}?" if near else "name it under `models:` in guardian.yaml",
        )
    models = []
    for model in sections if name is None else [name]:
        section = sections[model]
        endpoint = section.endpoint(model)
        if not _NAME.fullmatch(endpoint):
            problem = (
                f"has {len(endpoint)} characters: {MAX_NAME_CHARS} are allowed"
                if len(endpoint) > MAX_NAME_CHARS
                else f"must have 3 to {MAX_NAME_CHARS} letters, digits and dashes, and begin with "
                "a letter"
            )
            raise UsageError(
                f"the endpoint's name {endpoint!r} {problem}",
                hint=f"set models.{model}.endpoint_name in guardian.yaml",
            )
        models.append(
            Model(model, section.category, endpoint, section.instance_type, section.instance_count)
        )
    return models


def check_deployment_name(name: str, version: str) -> None:
    """Raise UsageError for a version from whose name no deployment's name can be made."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"version {version!r} cannot be deployed: {name!r} is no name of 3 to {MAX_NAME_CHARS} "
            "letters, digits and dashes",
            hint="register it under a number: guardian train",
        )
