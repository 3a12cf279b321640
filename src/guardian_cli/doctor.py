"""`guardian doctor`: what a scan needs, whether it is here, and what to type where it is not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from guardian_cli import __version__
from guardian_cli.detectors.base import Absent, DetectorOptions
from guardian_cli.detectors.clip.architecture import find_weights
from guardian_cli.detectors.clip.hardware import choose_device, choose_precision, name_hardware
from guardian_cli.detectors.clip.hub import Hub
from guardian_cli.detectors.endpoint.client import HttpTransport
from guardian_cli.detectors.endpoint.protocol import BadAnswerError, build_body, read_scores
from guardian_cli.detectors.endpoint.retry import Failure, status_failure
from guardian_cli.detectors.registry import make_specs
from guardian_cli.errors import MissingError, PlatformError, UsageError
from guardian_cli.lifecycle.probe import draw_probe
from guardian_cli.settings import environment_name
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guardian_cli.settings import EndpointSetting, Settings

State = Literal["ok", "warning", "missing"]

ENDPOINT_TIMEOUT_S = 10.0
# CLIP's weights are 0.6 GB, and a download lies beside them until it is whole.
MIN_DISK_BYTES = 1_000_000_000
_KEY_STATUS = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `hint` is what to type; only `missing` is a failure."""

    name: str
    state: State
    detail: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was looked at, and the versions of what is installed."""

    checks: tuple[Check, ...]
    versions: dict[str, str]

    def raise_for_missing(self) -> None:
        """Raise MissingError where something is missing or answers wrong."""
        missing = [check for check in self.checks if check.state == "missing"]
        if missing:
            names = ", ".join(check.name for check in missing)
            raise MissingError(f"not ready: {names}", hint=missing[0].hint)


def fetch_weights(settings: Settings, tell: Callable[[str], None], hub: Hub | None = None) -> Path:
    """Bring the configured CLIP's weights into the cache and return their path.

    Raises MissingError when they can't be had, UsageError for a tag that means none.
    """
    clip, offline = settings.config.clip, settings.hub_offline
    found = find_weights(clip.model, clip.pretrained, hub or Hub(), offline=offline, tell=tell)
    return found.path


def diagnose(settings: Settings, options: DetectorOptions | None = None) -> Diagnosis:
    """Look at everything that a scan with these settings, and these options, needs."""
    options = options or DetectorOptions()
    hub, versions = Hub(), installed_versions()
    detectors = settings.config.scan.detectors
    checks = [*check_configuration(settings), check_libraries(versions)]
    if "clip" in detectors:
        checks += [check_weights(settings, hub), check_device()]
    if "endpoint" in detectors:
        checks += [check_endpoint(*one) for one in settings.endpoints.items() if one[1].uri]
    if "model" in detectors and any(one.model for one in settings.config.categories.values()):
        checks.append(check_detector("model", settings, options))
    others = [name for name in detectors if name not in {"clip", "endpoint", "model"}]
    # Whether an extra is installed has nothing to do with the network.
    offline = replace(options, offline=True)
    checks += [check_detector(name, settings, offline) for name in others]
    checks += check_disks({"weights": hub.folder, "temporary files": Path(tempfile.gettempdir())})
    return Diagnosis(tuple(checks), versions)


def installed_versions() -> dict[str, str]:
    """guardian, Python, and every library that guardian asks for, "" where one is not there."""
    try:
        required = importlib.metadata.requires("guardian-cli") or []
    except importlib.metadata.PackageNotFoundError:
        required = []  # run from its sources, without having been installed
    plain = [one for one in required if "extra ==" not in one]
    names = sorted(re.split(r"[^\w.-]", one)[0] for one in plain)
    found = {"guardian": __version__, "python": platform.python_version()}
    for name in (*names, "nudenet"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # An optional library that is not installed is not reported.
            if name in names:
                found[name] = ""
    return found


def check_configuration(settings: Settings) -> Iterator[Check]:
    """Where the settings come from, and what in them has no effect."""
    there = settings.file.is_file()
    what = str(settings.file) if there else "no guardian.yaml here: the defaults"
    yield Check("configuration", "ok", what)
    for warning in settings.warnings:
        yield Check("configuration", "warning", warning, "guardian --example-config")


def check_libraries(versions: dict[str, str]) -> Check:
    """Whether every library that guardian asks for is installed."""
    gone = [name for name, version in versions.items() if not version]
    if gone:
        detail = f"not installed: {', '.join(gone)}"
        return Check("libraries", "missing", detail, "pip install --upgrade guardian-cli")
    shown = [
        f"{name} {versions[name]}" for name in ("guardian", "python", "torch") if versions.get(name)
    ]
    return Check("libraries", "ok", ", ".join(shown))


def check_weights(settings: Settings, hub: Hub) -> Check:
    """Whether CLIP's weights are on this machine. Raises UsageError for a tag that means none."""
    clip = settings.config.clip
    try:
        weights = find_weights(clip.model, clip.pretrained, hub, offline=True)
    except MissingError:
        detail = f"{clip.model}/{clip.pretrained} is not in {hub.folder}"
        if "nsfw" in settings.config.categories:
            detail += "; until it is, opennsfw scores nsfw, and nothing else is scored by CLIP"
        return Check("weights", "missing", detail, "guardian doctor --fetch-weights")
    size_mb = weights.path.stat().st_size / 1e6
    return Check("weights", "ok", f"{weights.label}, {size_mb:.0f} MB, {weights.path}")


def check_device() -> Check:
    """What CLIP will run on, and in which numbers."""
    try:
        device = choose_device("auto")
        precision = choose_precision("auto", device)
        gpu = f" ({name_hardware(device)[1]})" if device == "cuda" else ""
    except (ImportError, OSError) as error:
        return Check("device", "missing", f"torch cannot be loaded: {error}", "pip install torch")
    # The driver is there also where this torch was built without CUDA, or for another version.
    if device == "cpu" and Path("/proc/driver/nvidia/version").exists():
        detail = f"cpu, {precision}: there is a GPU, but this torch cannot use it"
        return Check("device", "warning", detail, "nvidia-smi; then a torch for that CUDA version")
    return Check("device", "ok", f"{device}{gpu}, {precision}")


def check_detector(name: str, settings: Settings, options: DetectorOptions) -> Check:
    """Whether a detector that the settings name is installed, and what it scores."""
    try:
        specs = make_specs(name, settings, options)
        if name == "model":
            # Its files are found and read: what a name stands for is known to the registry alone.
            loaded = [spec.load() for spec in specs if not isinstance(spec, Absent)]
            parts = [f"{one.info.model} for {', '.join(one.categories)}" for one in loaded]
        else:
            parts = [f"{one.info.model or name} for {', '.join(one.categories)}" for one in specs]
    except (MissingError, UsageError, PlatformError) as error:
        return Check(name, "missing", str(error), error.hint)
    return Check(name, "ok", "; ".join(parts) or "scores nothing with these settings")


def check_endpoint(category: str, setting: EndpointSetting) -> Check:
    """Let the endpoint score one picture. Raises UsageError for what is no address."""
    assert setting.uri is not None  # noqa: S101 - who is switched off is not asked
    name, shown = f"endpoint {category}", mask_url(setting.uri)
    key = setting.key.get_secret_value() if setting.key else None
    # Once: whoever asks how things stand is not helped by a second attempt.
    with closing(HttpTransport(setting.uri, key, timeout_s=ENDPOINT_TIMEOUT_S)) as transport:
        reply = transport.post(build_body([draw_probe()]))
    hint = "guardian endpoints --check, where guardian runs it; else ask whoever does"
    if isinstance(reply, Failure):
        return Check(name, "missing", f"{shown}: {reply.reason}", hint)
    if reply.status != 200:
        failure = status_failure(
            reply.status, reply.headers, has_key=key is not None, wall_s=time.time()
        )
        if reply.status in _KEY_STATUS:
            hint = f"guardian endpoints --write-env, or set {environment_name(category)}_KEY"
        return Check(name, "missing", f"{shown}: {failure.reason}", hint)
    try:
        read_scores(reply.body, 1, category)
    except BadAnswerError as error:
        return Check(name, "missing", f"{shown}: {error}", hint)
    return Check(name, "ok", f"{shown}, {reply.elapsed_s * 1000:.0f} ms")


def check_disks(folders: dict[str, Path]) -> Iterator[Check]:
    """Whether there is room where guardian writes."""
    for what, folder in folders.items():
        # Before its first use a folder is not there, but one above it is.
        # Not `Path.exists`, which raises where a home is another user's.
        there = next(filter(os.path.exists, (folder, *folder.absolute().parents)))
        free_bytes = shutil.disk_usage(there).free
        detail = f"{free_bytes / 1e9:.1f} GB free for {what} ({folder})"
        few = free_bytes < MIN_DISK_BYTES
        hint = "df -h; HF_HOME and TMPDIR name other places" if few else None
        yield Check("disk", "warning" if few else "ok", detail, hint)
