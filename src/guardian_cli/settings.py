"""Where settings come from: flags > environment > .env > guardian.yaml > defaults.

The only file that reads the environment.
"""

from __future__ import annotations

import difflib
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from dotenv.parser import parse_stream
from pydantic import BaseModel, SecretStr, ValidationError

from guardian_cli.config import CategorySection, Config
from guardian_cli.detectors.prompts import DEFAULT_PROMPTS
from guardian_cli.endpoint_keys import choose_key, why_withheld
from guardian_cli.errors import ConfigError
from guardian_cli.settings_file import KeyPath, SettingsFile, read_settings

CONFIG_NAME = "guardian.yaml"


@dataclass(frozen=True, slots=True)
class EndpointSetting:
    """Where a category's custom model is; a `uri` of None switches it off."""

    uri: str | None
    key: SecretStr | None
    named_by: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration, the endpoints with their keys, and what the user should be told."""

    config: Config
    endpoints: Mapping[str, EndpointSetting]
    warnings: tuple[str, ...] = ()
    hub_offline: bool = False
    tracking_uri: str | None = None
    file: Path = Path(CONFIG_NAME)


DEFAULTS: dict[str, Any] = {
    "categories": {
        name: {"prompts": {"positive": positive, "negative": negative}}
        for name, (positive, negative) in DEFAULT_PROMPTS.items()
    },
    "models": {
        "nsfw-detector": {"category": "nsfw"},
        "violence-detector": {"category": "violence"},
    },
}
_OUR_NAMES = re.compile(r"MODEL_ENDPOINT|AZURE_|MLFLOW_TRACKING_URI|GUARDIAN_CONFIG|HF_HUB_OFFLINE")
_AZURE_NAMES = {
    "AZURE_SUBSCRIPTION_ID": "subscription_id",
    "AZURE_RESOURCE_GROUP": "resource_group",
    "AZURE_ML_WORKSPACE": "workspace",
}


def load_settings(
    config_file: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """Merge flags, environment, .env, guardian.yaml and defaults.

    Raises ConfigError for a file that is named and not there, unknown keys and wrong types.
    """
    folder = folder or Path()
    process = os.environ if environ is None else environ
    from_file, malformed = _dotenv(folder / ".env")
    # What a file says of its own key does not hold for one from the environment.
    stale = {f"{name}_FOR" for name in process}
    names = {name: value for name, value in from_file.items() if name not in stale} | dict(process)
    file = _find_file(config_file, names, folder)
    merged = _without_switched_off(_merge(DEFAULTS, _filled(file.data) if file else {}))
    if file:
        # By itself first: what a flag or the environment lays over it is still wrong in the file.
        _validate(merged, file, {})
    for layer in (_azure_layer(names), flags or {}):
        merged = _merge(merged, layer)
    config = _validate(merged, file, flags or {})
    endpoints = {
        name: setting
        for name, category in config.categories.items()
        if (setting := _endpoint(name, category, names)) is not None
    }
    withheld = tuple(
        warning
        for name, setting in endpoints.items()
        if setting.uri and (warning := why_withheld(environment_name(name), setting.uri, names))
    )
    warnings = (*malformed, *_warnings(names, config, endpoints), *withheld)
    hub_offline = names.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}
    tracking_uri = names.get("MLFLOW_TRACKING_URI", "").strip() or None
    path = file.path if file else folder / CONFIG_NAME
    return Settings(config, endpoints, warnings, hub_offline, tracking_uri, path)


def calm_mlflow() -> None:
    """Before MLflow is imported: no links, no bars, no word on git."""
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # By default a server that is not there is asked for over a minute.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")


def calm_threads() -> None:
    """Before torch is imported: threads that wait sleep, and leave the core to others.

    On two busy cores a small network trains three times as fast so.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def count_cores() -> int:
    """The cores that this process may use, which are fewer than the machine's under `taskset`."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment_name(category: str) -> str:
    """The name that a category's endpoint has in the environment: `NSFW_MODEL_ENDPOINT`."""
    return re.sub(r"\W", "_", category).upper() + "_MODEL_ENDPOINT"


def _find_file(named: Path | None, names: Mapping[str, str], folder: Path) -> SettingsFile | None:
    if named is None and names.get("GUARDIAN_CONFIG"):
        named = Path(names["GUARDIAN_CONFIG"])
    path = named or folder / CONFIG_NAME
    if not path.exists() or path.is_dir():
        if named is None:
            return None
        what = "a folder, not a file" if path.is_dir() else "no such file"
        raise ConfigError(f"{path}: {what}", hint="guardian --example-config shows every key")
    return read_settings(path)


def _dotenv(path: Path) -> tuple[dict[str, str], list[str]]:
    """What .env sets, and a word on each line that is none.

    The file may serve other programs too, so only a broken line with a name of ours is an error.
    """
    if not path.is_file():
        return {}, []
    try:
        lines = list(parse_stream(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    malformed = []
    for line in lines:
        if line.error:
            text = line.original.string
            number = line.original.line + text[: len(text) - len(text.lstrip())].count("\n")
            # What stands in the line may be a key: it is not shown.
            said = f"{path}:{number}: not NAME=VALUE"
            if _OUR_NAMES.search(text):
                raise ConfigError(said, hint=f"mend that line of {path}, or put # before it")
            malformed.append(f"{said}: the line is not used")
    values = {line.key: line.value for line in lines if line.key and line.value is not None}
    return values, malformed


def _azure_layer(names: Mapping[str, str]) -> dict[str, Any]:
    azure = {key: names[name] for name, key in _AZURE_NAMES.items() if names.get(name)}
    return {"azure": azure} if azure else {}


def _filled(value: Any, annotation: Any = Config) -> Any:
    """What a file really says: a known key with nothing behind it keeps its default.

    A section whose keys are all commented out says nothing. Only `off` drops something.
    """
    model = _section_in(annotation)
    if model is None or not isinstance(value, Mapping):
        return value
    if get_origin(annotation) is dict:
        return {key: _filled({} if one is None else one, model) for key, one in value.items()}
    fields = model.model_fields
    return {
        key: _filled(one, fields[key].annotation) if key in fields else one
        for key, one in value.items()
        if one is not None or key not in fields
    }


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`, mappings key by key."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def _without_switched_off(merged: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the categories and models that are `off`, and the prompts of a category."""
    kept = dict(merged)
    for room in ("categories", "models"):
        named = kept.get(room)
        if isinstance(named, Mapping):
            kept[room] = {
                name: {**one, "prompts": None}
                if isinstance(one, Mapping) and one.get("prompts") is False
                else one
                for name, one in named.items()
                if one is not False
            }
    return kept


def _endpoint(
    name: str, category: CategorySection, names: Mapping[str, str]
) -> EndpointSetting | None:
    variable = environment_name(name)
    uri = names.get(variable, category.endpoint)
    if uri is None:
        return None
    key = choose_key(variable, uri, names)
    named_by = variable if variable in names else f"categories.{name}.endpoint"
    return EndpointSetting(uri.strip() or None, SecretStr(key) if key else None, named_by)


def _warnings(
    names: Mapping[str, str], config: Config, endpoints: Mapping[str, EndpointSetting]
) -> tuple[str, ...]:
    known = {environment_name(name) for name in config.categories}
    unknown = [
        f"{name} is set, but guardian.yaml has no category of that name: it is not used"
        for name in sorted(names)
        if name.endswith("_MODEL_ENDPOINT") and name not in known and names[name]
    ]
    # The offline detectors know nsfw without prompts.
    unscored = [
        f"category {name} has neither prompts nor an endpoint: nothing can score it"
        for name, category in config.categories.items()
        if category.prompts is None
        and (name not in endpoints or endpoints[name].uri is None)
        and not (name == "nsfw" and "nudenet" in config.scan.detectors)
    ]
    return (*unknown, *unscored)


def _validate(
    merged: Mapping[str, Any], file: SettingsFile | None, flags: Mapping[str, Any]
) -> Config:
    try:
        return Config.model_validate(dict(merged))
    except ValidationError as error:
        first, *rest = error.errors(include_url=False)
        keys = tuple(first["loc"])
        more = f" (and {len(rest)} more)" if rest else ""
        if _is_flag(keys, flags):
            message = f"--{str(keys[-1]).removesuffix('_s')}: {_say(first, keys)}"
            raise ConfigError(message, hint="guardian scan --help") from None
        where = file.where(keys) if file else "configuration"
        message = f"{where}: {'.'.join(map(str, keys))}: {_say(first, keys)}{more}"
        raise ConfigError(message, hint=_hint(first, keys)) from None


def _is_flag(keys: KeyPath, flags: Mapping[str, Any]) -> bool:
    value: Any = flags
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True


def _say(error: Mapping[str, Any], keys: KeyPath) -> str:
    if error["type"] != "extra_forbidden":
        message = str(error["msg"]).removeprefix("Value error, ")
        return message.replace("Tuple", "List").replace("tuple", "list")
    known = _known_keys(keys[:-1])
    near = difflib.get_close_matches(str(keys[-1]), known, n=1, cutoff=0.5)
    if near:
        return f"unknown key; did you mean {near[0]}?"
    return "unknown key" + (f"; the keys here are {', '.join(known)}" if known else "")


def _hint(error: Mapping[str, Any], keys: KeyPath) -> str:
    if error["type"] == "extra_forbidden" and "key" in str(keys[-1]).lower():
        name = str(keys[1]) if len(keys) > 2 and keys[0] == "categories" else "nsfw"
        return f"keys never stand in the file: set {environment_name(name)}_KEY in the environment"
    return "guardian --example-config shows every key"


def _known_keys(above: KeyPath) -> list[str]:
    """The keys that may stand under a key path, read from the models."""
    model: type[BaseModel] | None = Config
    for key in above:
        if model is None:
            return []
        field = model.model_fields.get(str(key))
        # Under a mapping (categories, models) the next key is the user's own name.
        model = _section_in(field.annotation) if field else model
    return list(model.model_fields) if model else []


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is not None:
        for part in get_args(annotation):
            found = _section_in(part)
            if found:
                return found
    return None
