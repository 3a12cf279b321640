"""Which models a verb is about, and the names that belong to them. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guardian_cli.config import ModelSection

LONGEST_NAME = 32
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
    """Return the model of this name, or all of them. Raises UsageError for an unknown one."""
    if name is None:
        return [_model(one, section) for one, section in sections.items()]
    if name in sections:
        return [_model(name, sections[name])]
    near = difflib.get_close_matches(name, sections, n=1, cutoff=0.3)
    known = ", ".join(sections) or "none"
    raise UsageError(
        f"guardian.yaml has no model {name!r}: there is {known}",
        hint=f"did you mean {near[0]}?" if near else "name it under `models:` in guardian.yaml",
    )


def _model(name: str, section: ModelSection) -> Model:
    return Model(
        name=name,
        category=section.category,
        endpoint=_checked_endpoint_name(name, section.endpoint(name)),
        instance_type=section.instance_type,
        instance_count=section.instance_count,
    )


def check_deployment_name(name: str, version: str) -> None:
    """Raise UsageError for a version of whose name no deployment's can be made."""
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise UsageError(
            f"version {version!r} cannot be deployed: {name!r} is no name of 3 to {LONGEST_NAME} "
            "letters, digits and dashes",
            hint="register it under a number: guardian train",
        )


def _checked_endpoint_name(model: str, name: str) -> str:
    """Return the endpoint's name; one that a platform would refuse is refused here."""
    hint = f"set models.{model}.endpoint_name in guardian.yaml"
    if len(name) > LONGEST_NAME:
        raise UsageError(
            f"the endpoint's name {name!r} has {len(name)} characters: {LONGEST_NAME} are allowed",
            hint=hint,
        )
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"the endpoint's name {name!r} must have 3 to {LONGEST_NAME} letters, digits and "
            "dashes, and begin with a letter",
            hint=hint,
        )
    return name
