"""Registered versions for use in this process: which one is meant, and its files, kept here."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from guardian_cli.detectors.base import ModelFiles
from guardian_cli.detectors.clip.cache import digest_of
from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.models import choose_models
from guardian_cli.lifecycle.release.roles import Role, Roles, own_endpoint, roles_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.lifecycle.models import Model
    from guardian_cli.lifecycle.platform import ModelVersion, Platform, Reporter
    from guardian_cli.settings import Settings

CACHE = Path("~/.cache/guardian/models")


def open_platform(settings: Settings, reporter: Reporter) -> Platform:
    """The platform that `target` names. Raises ConfigError where it lacks the names it needs."""
    if settings.config.target == "local":
        from guardian_cli.lifecycle.local.platform import LocalPlatform  # noqa: PLC0415 - the one that is used

        return LocalPlatform(Path(), settings.tracking_uri)
    from guardian_cli.lifecycle.azure.client import WorkspaceAddress  # noqa: PLC0415 - as above
    from guardian_cli.lifecycle.azure.platform import AzurePlatform  # noqa: PLC0415 - as above

    return AzurePlatform(WorkspaceAddress.from_config(settings.config.azure), reporter)


def choose_version(
    named: str, settings: Settings, platform: Platform
) -> tuple[Model, ModelVersion]:
    """Which version MODEL@VERSION is, or MODEL@champion, MODEL@challenger or MODEL@previous.

    Raises UsageError for what is none of these, and for a model or version that is not there.
    """
    name, _, wanted = named.rpartition("@")
    if not name or not wanted:
        raise UsageError(
            f"{named}: not MODEL@VERSION",
            hint="MODEL@champion or MODEL@2: guardian endpoints lists models and their versions",
        )
    (model,) = choose_models(settings.config.models, name)
    if wanted in get_args(Role):
        endpoint = own_endpoint(platform, model)
        roles = roles_on(endpoint) if endpoint else Roles()
        version: str | None = getattr(roles, wanted)
        if version is None:
            problem = f"{named}: {name} has no {wanted}"
            if roles.champion is not None:
                raise UsageError(problem, hint=f"guardian endpoints {name}")
            raise UsageError(
                f"{problem}: nothing of it is deployed",
                hint=f"guardian deploy {name}, or name a version: {name}@1",
            )
        wanted = version
    found = platform.registry.get(name, wanted)
    if found is None:
        known = ", ".join(one.version for one in platform.registry.versions(name)) or "none"
        raise UsageError(
            f"{named}: {name} has no version {wanted}; there is {known}",
            hint=f"guardian train {name}",
        )
    return model, found


def version_finder(settings: Settings, reporter: Reporter) -> Callable[[str], ModelFiles]:
    """What finds versions for detectors; the platform is opened when the first one is asked for."""
    return lambda named: find_version(named, settings, open_platform(settings, reporter))


def find_version(
    named: str, settings: Settings, platform: Platform, *, cache: Path = CACHE
) -> ModelFiles:
    """The files of a version that `choose_version` knows, fetched once.

    Raises UsageError as it does, PlatformError for a registry that does not answer.
    """
    model, version = choose_version(named, settings, platform)
    # A registry that was made anew counts from 1 again: the time tells its versions apart.
    key = digest_of(
        [platform.target, platform.place, settings.tracking_uri, model.name, version.version]
    )
    folder = cache.expanduser() / f"{key[:16]}-{digest_of(str(version.created))[:16]}"
    label = f"{model.name}@{version.version}"
    if folder.is_dir():
        return ModelFiles(label, folder)
    # A name for each scan: several may fetch the same version at once.
    partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        platform.registry.fetch(model.name, version.version, partial)
        # Whole or not at all; where another scan was faster, its copy is as good.
        if not folder.is_dir():
            partial.replace(folder)
    except OSError as error:
        if not folder.is_dir():
            raise PlatformError(
                f"{label} can't be kept in {folder.parent}: {error.strerror or error}",
                hint=f"name a folder with its files in categories.{model.category}.model",
            ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return ModelFiles(label, folder)
