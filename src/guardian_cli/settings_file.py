"""guardian.yaml as plain data, with the line on which every key stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import ConfigError
from guardian_cli.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import yaml

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What a settings file holds: `data` as written, `lines` key path -> line number from 1."""

    path: Path
    data: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def where(self, keys: KeyPath) -> str:
        """`guardian.yaml:12` for the key, or for the nearest key above it that has a line."""
        for end in range(len(keys), 0, -1):
            # `lines` knows a mapping's keys as text, also where YAML reads one as a number.
            for at in (keys[:end], (*keys[: end - 1], str(keys[end - 1]))):
                if at in self.lines:
                    return f"{self.path}:{self.lines[at]}"
        return str(self.path)


def read_settings(path: Path) -> SettingsFile:
    """Read a YAML file; ConfigError when it can't be read, is no mapping or names a key twice."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {_reason(error)}") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = _lines_of(root, path) if root is not None else {}
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{_yaml_place(path, error)}: not valid YAML: {_problem(error)}"
        ) from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: a mapping of keys is expected, not {type(data).__name__}")
    return SettingsFile(path, data, lines)


def _lines_of(root: yaml.Node, path: Path) -> dict[KeyPath, int]:
    import yaml

    lines: dict[KeyPath, int] = {}
    stack: list[tuple[yaml.Node, KeyPath]] = [(root, ())]
    above: dict[int, int] = {}
    while stack:
        node, at = stack.pop()
        # An alias shows the same node again: once is enough, and inside itself it has no end.
        if isinstance(node, yaml.CollectionNode):
            if id(node) in above:
                if above[id(node)] < len(at) and _is_inside(node, node):
                    line = node.start_mark.line + 1
                    raise ConfigError(f"{path}:{line}: {'.'.join(map(str, at))}: refers to itself")
                continue
            above[id(node)] = len(at)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here = (*at, str(key.value))
                line = key.start_mark.line + 1
                if here in lines:
                    raise ConfigError(f"{path}:{line}: {'.'.join(map(str, here))}: named twice")
                lines[here] = line
                stack.append((value, here))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                here = (*at, index)
                lines[here] = value.start_mark.line + 1
                stack.append((value, here))
    return lines


def _is_inside(wanted: yaml.Node, node: yaml.Node) -> bool:
    """Whether a node is found again below itself; looks at every node once."""
    import yaml

    seen: set[int] = set()
    stack = [node]
    while stack:
        value = stack.pop().value
        if not isinstance(value, list):
            continue
        for child in (
            part for pair in value for part in (pair if isinstance(pair, tuple) else (pair,))
        ):
            if child is wanted:
                return True
            if isinstance(child, yaml.CollectionNode) and id(child) not in seen:
                seen.add(id(child))
                stack.append(child)
    return False


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"


def _yaml_place(path: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{path}:{mark.line + 1}" if mark else str(path)


def _problem(error: Exception) -> str:
    return getattr(error, "problem", None) or str(error).splitlines()[0]


def write_keys(path: Path, values: Mapping[tuple[str, ...], str]) -> bool:
    """Set keys in a settings file, or in a new one; comments and all else stay as they are.

    False when all was so already. Raises ConfigError for a file that cannot be read or written,
    or whose form (aliases, for one) would make the change reach further.
    """
    path = path.resolve()
    before = read_settings(path).data if path.exists() else {}
    old = path.read_bytes().decode("utf-8") if path.exists() else ""
    windows = "\r\n" in old
    new = _with_keys(old.replace("\r\n", "\n"), before, values, path)
    new = new.replace("\n", "\r\n") if windows else new
    if new == old:
        return False
    try:
        write_atomic(path, new.encode("utf-8"), mode=0o666)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {_reason(error)}") from error
    return True


def _with_keys(
    old: str, before: Mapping[str, Any], values: Mapping[tuple[str, ...], str], path: Path
) -> str:
    """The text with the keys set. Raises ConfigError when anything else would change by that."""
    import yaml

    wanted = _unshared(before)
    new = old
    try:
        for keys, value in values.items():
            new = _set_key(new, keys, value)
            _put(wanted, keys, value)
        good = new == old or yaml.safe_load(new) == wanted
    except yaml.YAMLError:
        good = False
    if not good:
        names = ", ".join(".".join(one) for one in values)
        raise ConfigError(
            f"{path}: {names} could not be set without changing more: set them by hand"
        )
    return new


def _unshared(data: Any) -> Any:
    """A copy in which nothing is there twice: an alias in a file is the same object."""
    if isinstance(data, dict):
        return {key: _unshared(value) for key, value in data.items()}
    return [_unshared(one) for one in data] if isinstance(data, list) else data


def _put(data: dict[str, Any], keys: tuple[str, ...], value: str) -> None:
    for key in keys[:-1]:
        if not isinstance(data.get(key), dict):
            data[key] = {}
        data = data[key]
    if str(data.get(keys[-1])) != value:
        data[keys[-1]] = value


def _set_key(text: str, keys: tuple[str, ...], value: str) -> str:
    """Replace the value of a key, or add the key where its section, or the file, begins or ends."""
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return _joined(text, _block(keys, value, ""))
    node: Any = root
    for depth, key in enumerate(keys):
        found = next((one for name, one in node.value if name.value == key), None)
        last = depth == len(keys) - 1
        if found is None:
            return _with_new_key(text, node, keys[depth:], value, whole=node is root)
        if last or not isinstance(found, yaml.MappingNode):
            if last and found.value == value:
                return text
            put = f" {_scalar(value)}" if last else "\n" + _block(keys[depth + 1 :], value, "  ")
            head = text[: found.start_mark.index].rstrip(" ")
            return head + put.rstrip("\n") + text[found.end_mark.index :]
        node = found
    return text


def _with_new_key(text: str, node: Any, keys: tuple[str, ...], value: str, *, whole: bool) -> str:
    if node.flow_style:
        at = node.end_mark.index - 1
        entry = "".join(f"{key}: {{" for key in keys[:-1]) + f"{keys[-1]}: {_scalar(value)}"
        comma = ", " if node.value else ""
        return text[:at] + comma + entry + "}" * (len(keys) - 1) + text[at:]
    if whole:
        return _joined(text, _block(keys, value, ""))
    first = node.value[0][0].start_mark
    start = first.index - first.column
    return text[:start] + _block(keys, value, " " * first.column) + text[start:]


def _block(keys: tuple[str, ...], value: str, indent: str) -> str:
    lines = [f"{indent}{'  ' * depth}{key}:" for depth, key in enumerate(keys)]
    return "\n".join(lines) + f" {_scalar(value)}\n"


def _joined(text: str, more: str) -> str:
    return (text if not text or text.endswith("\n") else text + "\n") + more


def _scalar(value: str) -> str:
    import yaml

    return yaml.safe_dump(value, default_style=None, width=10_000).splitlines()[0]
