"""Registered versions for a scan in this process: which one is meant, and its files, kept here."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.detectors.base import ModelFiles
from guardian_cli.detectors.clip.cache import digest_of
from guardian_cli.errors import PlatformError, UsageError
from guardian_cli.lifecycle.models import choose_models
from guardian_cli.lifecycle.release.roles import read_roles

if TYPE_CHECKING:
    from guardian_cli.lifecycle.platform import Platform, Reporter
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


def find_version(
    named: str, settings: Settings, platform: Platform, *, cache: Path = CACHE
) -> ModelFiles:
    """The files of MODEL@champion or MODEL@VERSION on a platform, fetched once.

    Raises UsageError for a model or version that is not there, PlatformError for a registry that
    does not answer.
    """
    name, _, wanted = named.rpartition("@")
    (model,) = choose_models(settings.config.models, name)
    if wanted == "champion":
        endpoint = platform.endpoint(model.endpoint)
        champion = read_roles(endpoint.tags).champion if endpoint else None
        if champion is None:
            raise UsageError(
                f"{named}: {name} has no champion: nothing of it is deployed",
                hint=f"guardian deploy {name}, or name a version: {name}@1",
            )
        wanted = champion
    found = platform.registry.get(name, wanted)
    if found is None:
        known = ", ".join(one.version for one in platform.registry.versions(name)) or "none"
        raise UsageError(
            f"{named}: {name} has no version {wanted}; there is {known}",
            hint=f"guardian train {name}",
        )
    # A registry that was made anew counts from 1 again: the time tells its versions apart.
    key = digest_of([platform.target, platform.place, settings.tracking_uri, name, wanted])
    folder = cache.expanduser() / f"{key[:16]}-{digest_of(str(found.created))[:16]}"
    label = f"{name}@{wanted}"
    if folder.is_dir():
        return ModelFiles(label, folder)
    # A name for each scan: several may fetch the same version at once.
    partial = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        platform.registry.fetch(name, wanted, partial)
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
