"""Where settings come from: flags > environment > .env > guardian.yaml > defaults.

The only file that reads the environment.
"""

from __future__ import annotations

import difflib
import getpass
import io
import os
import re
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from dotenv.parser import parse_stream
from pydantic import BaseModel, SecretStr, ValidationError

from guardian_cli.config import CategorySection, Config
from guardian_cli.endpoint_keys import COMMON_KEY, choose_key, origin_of
from guardian_cli.errors import ConfigError
from guardian_cli.prompts import DEFAULT_CATEGORIES, READY
from guardian_cli.settings_file import KeyPath, SettingsFile, read_settings

CONFIG_NAME = "guardian.yaml"
READY_SECTIONS: dict[str, dict[str, Any]] = {
    name: {
        "review": ready.review,
        "block": ready.block,
        "prompts": {"positive": ready.prompts.positive, "negative": ready.prompts.negative},
    }
    for name, ready in READY.items()
}
# So that `guardian train` and `deploy` know these models before there is a guardian.yaml.
DEFAULTS: dict[str, Any] = {
    "models": {
        "nsfw-detector": {"category": "nsfw"},
        "violence-detector": {"category": "violence"},
    },
}
# Detectors that score nsfw whatever the settings say, and nothing else.
NSFW_DETECTORS = {"opennsfw", "nudenet"}
_OUR_NAMES = re.compile(r"MODEL_ENDPOINT|AZURE_|MLFLOW_TRACKING_URI|GUARDIAN_CONFIG|HF_HUB_OFFLINE")
# What Pydantic says in Python's words, by the type of the error.
_SECTION = "keys of its own are expected here, as in {key: value}"
_OUR_WORDS = {
    "dict_type": _SECTION,
    "model_type": _SECTION,
    "tuple_type": "a list is expected, as in [a, b]",
    "too_short": "the list is empty",
    "missing": "this key is needed",
    "string_type": "a text is expected",
}
_AZURE_NAMES = {
    "AZURE_SUBSCRIPTION_ID": "subscription_id",
    "AZURE_RESOURCE_GROUP": "resource_group",
    "AZURE_ML_WORKSPACE": "workspace",
}


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


def load_settings(
    config_file: Path | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    categories: Sequence[str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Merge flags, environment, .env, guardian.yaml and defaults; a flag that is None is not given.

    `categories` chooses these and no others, ready ones or guardian.yaml's own; `defaults` are laid
    over guardian's own. Raises ConfigError for a file that is named and not there, unknown keys,
    wrong types and unknown categories.
    """
    folder = folder or Path()
    process = os.environ if environ is None else environ
    from_file, warnings = read_dotenv(folder / ".env")
    # What a file says of its own key does not hold for one from the environment.
    stale = {f"{name}_FOR" for name in process}
    names = {name: value for name, value in from_file.items() if name not in stale} | dict(process)
    if config_file is None and names.get("GUARDIAN_CONFIG"):
        config_file = Path(names["GUARDIAN_CONFIG"])
    path = config_file or folder / CONFIG_NAME
    file = _read_file(path, is_named=config_file is not None)
    data = file.data if file else {}
    merged = _merge(_merge(_with_ready(data), defaults or {}), data)
    if file:
        # By itself first: what a flag or the environment lays over it is still wrong in the file.
        _check_cascade(_validate(merged, file, {}), file)
    azure = {key: names[name] for name, key in _AZURE_NAMES.items() if names.get(name)}
    merged = _merge(_merge(merged, {"azure": azure} if azure else {}), flags or {})
    named = merged["categories"]
    if categories is not None:
        merged["categories"] = choose_categories(named, categories)
    config = _validate(merged, file, flags or {})
    endpoints, endpoint_warnings = read_endpoints(config.categories, names, named)
    return Settings(
        config,
        endpoints,
        (*warnings, *endpoint_warnings, *_warn_of_categories(config, endpoints)),
        # The values that huggingface_hub takes for yes.
        hub_offline=names.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"},
        tracking_uri=names.get("MLFLOW_TRACKING_URI", "").strip() or None,
        file=path,
    )


def scan_flags(
    *,
    every: float | None = None,
    timeout_s: float | None = None,
    model: str | None = None,
    pretrained: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Return the `flags` that options of a scan are; what is None was not said, and is not there.

    Left out, not None: a replay tells by what is there whether another model was asked for.
    """
    flags: dict[str, dict[str, Any]] = {
        "scan": {"every": every, "timeout_s": timeout_s},
        "clip": {"model": model, "pretrained": pretrained},
    }
    said = {
        section: {name: value for name, value in values.items() if value is not None}
        for section, values in flags.items()
    }
    return {section: values for section, values in said.items() if values}


def _read_file(path: Path, *, is_named: bool) -> SettingsFile | None:
    """The settings file, None where there is none. Raises ConfigError where one was meant."""
    if path.exists() and not path.is_dir():
        return read_settings(path)
    # A mount of what is not there leaves a folder or a broken link: rules must not get lost so.
    if is_named or os.path.lexists(path):
        what = "a folder, not a file" if path.is_dir() else "no such file"
        raise ConfigError(f"{path}: {what}", hint="guardian --example-config shows every key")
    return None


def _warn_of_categories(config: Config, endpoints: Mapping[str, EndpointSetting]) -> Iterator[str]:
    """Yield a warning for each category that nothing can score, and each model without effect."""
    # Other detectors need none; what those of other packages score, they say themselves.
    others = set(config.scan.detectors) - {"clip", "endpoint", "model"}
    for name, category in config.categories.items():
        has_endpoint = name in endpoints and endpoints[name].uri is not None
        has_other = bool(others - NSFW_DETECTORS) or (name == "nsfw" and bool(others))
        if category.prompts is None and not (has_endpoint or category.model or has_other):
            nothing = "has no prompts, no endpoint and no model: nothing can score it"
            near = difflib.get_close_matches(name, READY, n=1, cutoff=0.7)
            meant = f" (did you mean {near[0]}?)" if near else ""
            yield f"category {name} {nothing}{meant}"
        if category.model and "model" not in config.scan.detectors:
            yield f"categories.{name}.model has no effect: model is not in scan.detectors"


def choose_categories(named: Mapping[str, Any], chosen: Sequence[str]) -> dict[str, Any]:
    """Return the sections of the chosen categories, of guardian.yaml's or ready ones, each once.

    What the file switches off is chosen again with its defaults: a flag wins. Raises ConfigError
    for a name that is neither.
    """
    known = READY_SECTIONS | {name: one for name, one in named.items() if one is not False}
    for name in chosen:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            raise ConfigError(
                f"--categories: unknown category {name!r}; there are {', '.join(known)}",
                hint=f"did you mean {near[0]}?"
                if near
                else "one of your own stands in guardian.yaml, with prompts or an endpoint",
            )
    if not chosen:
        raise ConfigError("--categories: no category is named", hint="--categories nsfw,violence")
    return {name: known[name] for name in chosen}


def environment_name(category: str) -> str:
    """The name that a category's endpoint has in the environment: `NSFW_MODEL_ENDPOINT`."""
    return re.sub(r"\W", "_", category).upper() + "_MODEL_ENDPOINT"


def read_endpoints(
    categories: Mapping[str, CategorySection], names: Mapping[str, str], named: Iterable[str] = ()
) -> tuple[dict[str, EndpointSetting], list[str]]:
    """Return the endpoints that the environment or guardian.yaml names, and what to warn of.

    `named` are categories that guardian.yaml has, and that may not be in use.
    """
    endpoints: dict[str, EndpointSetting] = {}
    known = {environment_name(category) for category in (*categories, *named)}
    ready = {environment_name(category): category for category in READY}
    warnings = []
    for name in sorted(names):
        if name.endswith("_MODEL_ENDPOINT") and name not in known and names[name]:
            warning = f"{name} is set, but guardian.yaml has no category of that name"
            use = f" (categories: {{{ready[name]}: {{}}}} adds it)" if name in ready else ""
            warnings.append(f"{warning}: it is not used{use}")
    for category, section in categories.items():
        variable = environment_name(category)
        uri = names.get(variable, section.endpoint)
        if uri is None:
            continue
        key = choose_key(variable, uri, names)
        named_by = variable if variable in names else f"categories.{category}.endpoint"
        uri = uri.strip() or None
        endpoints[category] = EndpointSetting(uri, SecretStr(key) if key else None, named_by)
        withheld = [one for one in (f"{variable}_KEY", COMMON_KEY) if names.get(one)]
        if uri and withheld and key is None:
            origin = origin_of(uri)
            warnings.append(
                f"{withheld[0]} was written for another host than {origin} and is not sent there: "
                f"set {variable}_KEY to its key, and {variable}_KEY_FOR={origin}"
            )
    return endpoints, warnings


def read_dotenv(path: Path) -> tuple[dict[str, str], list[str]]:
    """Return what .env sets, and a warning for each line that is none.

    The file may serve other programs too, so only a broken line with a name of ours is an error.
    """
    if not path.is_file():
        return {}, []
    try:
        lines = list(parse_stream(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    warnings = []
    for line in lines:
        if line.error:
            text = line.original.string
            number = line.original.line + text[: len(text) - len(text.lstrip())].count("\n")
            # What stands in the line may be a key: it is not shown.
            said = f"{path}:{number}: not NAME=VALUE"
            if _OUR_NAMES.search(text):
                raise ConfigError(said, hint=f"mend that line of {path}, or put # before it")
            warnings.append(f"{said}: the line is not used")
    values = {line.key: line.value for line in lines if line.key and line.value is not None}
    return values, warnings


def _with_ready(data: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults under a settings file: the default categories, and the ready ones it names."""
    named = data.get("categories")
    others = [name for name in READY if isinstance(named, Mapping) and name in named]
    wanted = dict.fromkeys((*DEFAULT_CATEGORIES, *others))
    return {**DEFAULTS, "categories": {name: READY_SECTIONS[name] for name in wanted}}


def _check_cascade(config: Config, file: SettingsFile) -> None:
    """Raise ConfigError where `scan.cascade` names what is no category."""
    for name in config.scan.cascade:
        if name not in config.categories:
            keys = ("scan", "cascade", name)
            raise ConfigError(
                f"{file.where(keys)}: {'.'.join(keys)}: no category of that name is in use; "
                f"there are {', '.join(config.categories)}",
                hint="guardian --example-config shows every key",
            )


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`, mappings key by key; a key with nothing behind it hides nothing."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        elif value is not None or key not in merged:
            merged[key] = value
    return merged


def _validate(
    merged: Mapping[str, Any], file: SettingsFile | None, flags: Mapping[str, Any]
) -> Config:
    """Return the configuration. Raises ConfigError with the flag, or file and line, at fault."""
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        errors = error.errors(include_url=False)
    # A key that is misspelt is missing as well, and a list with a wrong item is wrong too.
    errors.sort(key=lambda one: one["type"] in {"missing", "too_short"})
    first, *rest = errors
    keys = tuple(first["loc"])
    message = _OUR_WORDS.get(first["type"]) or str(first["msg"]).removeprefix("Value error, ")
    flag: Any = flags
    for key in keys:
        flag = flag.get(key) if isinstance(flag, Mapping) else None
    if flag is not None:
        option = str(keys[-1]).removesuffix("_s")
        raise ConfigError(f"--{option}: {message}", hint="guardian scan --help")
    hint = "guardian --example-config shows every key"
    if first["type"] == "extra_forbidden":
        known = _known_keys(keys[:-1])
        near = difflib.get_close_matches(str(keys[-1]), known, n=1, cutoff=0.5)
        message = f"unknown key; the keys here are {', '.join(known)}"
        if near:
            message = f"unknown key; did you mean {near[0]}?"
        if "key" in str(keys[-1]).lower():
            name = str(keys[1]) if len(keys) > 2 and keys[0] == "categories" else "nsfw"
            variable = f"{environment_name(name)}_KEY"
            hint = f"keys never stand in the file: set {variable} in the environment"
    where = file.where(keys) if file else "configuration"
    more = f" (and {len(rest)} more)" if rest else ""
    raise ConfigError(f"{where}: {'.'.join(map(str, keys))}: {message}{more}", hint=hint)


def _known_keys(above: KeyPath) -> list[str]:
    """The keys that may stand under a key path, read from the models."""
    model: type[BaseModel] = Config
    for key in above:
        # Under categories and models the next key is the user's own name, which is no field.
        field = model.model_fields.get(str(key))
        parts = (field.annotation, *get_args(field.annotation)) if field else ()
        sections = [one for one in parts if isinstance(one, type) and issubclass(one, BaseModel)]
        model = sections[0] if sections else model
    return list(model.model_fields)


def user_and_machine() -> str:
    """Who is at work, `me@machine`, by number where a container has no name for its user."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def calm_mlflow() -> None:
    """Before MLflow is imported: no links, no bars, no word on git."""
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # By default a server that is not there is asked for over a minute.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")


def calm_ray() -> None:
    """Before Ray is imported: nothing goes to its makers, and no warning to the screen."""
    # Whatever was set: what is scanned here is nobody else's business.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


def ray_address() -> str | None:
    """The cluster that the environment names, HOST:PORT or ray://HOST:PORT."""
    address = os.environ.get("RAY_ADDRESS", "").strip()
    return address if address not in {"", "auto", "local"} else None


def ray_uses_tls() -> bool:
    """Whether the environment says that clusters are reached by TLS."""
    return os.environ.get("RAY_USE_TLS", "0") != "0"


def make_ray_token() -> None:
    """Before a Ray of our own is started: only who has this token, in memory, may use it."""
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def calm_threads() -> None:
    """Before torch is imported: threads that wait sleep, and leave the core to others.

    On two busy cores a small network trains three times as fast so.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def count_cores() -> int:
    """The cores that this process may use, which are fewer than the machine's under `taskset`."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
