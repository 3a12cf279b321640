"""guardian.yaml as plain data with the line on which every key stands, and keys put into it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import ConfigError
from guardian_cli.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: it is not UTF-8 text") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_number_keys(root, path)) if root is not None else {}
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{where}: not valid YAML: {problem}") from error
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ConfigError(f"{path}:1: a mapping of keys is expected, not {type(data).__name__}")
    return SettingsFile(path, data, lines)


def _number_keys(root: yaml.Node, path: Path) -> Iterator[tuple[KeyPath, int]]:
    """Yield each key's path and its line. Raises ConfigError for what YAML allows and we do not."""
    import yaml

    above: list[yaml.Node] = []
    seen: set[int] = set()

    def walk(node: yaml.Node, at: KeyPath) -> Iterator[tuple[KeyPath, int]]:
        where = f"{path}:{node.start_mark.line + 1}: {'.'.join(map(str, at))}"
        if any(node is one for one in above):
            raise ConfigError(f"{where}: refers to itself")
        # An alias shows the same node again: once is enough, a few could make it billions.
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            return
        seen.add(id(node))
        above.append(node)
        keys: set[str] = set()
        for number, child in enumerate(node.value):
            key, value = child if isinstance(node, yaml.MappingNode) else (child, child)
            here: KeyPath = (*at, number)
            line = key.start_mark.line + 1
            if isinstance(node, yaml.MappingNode):
                here = (*at, str(key.value))
                if str(key.value) in keys:
                    raise ConfigError(f"{path}:{line}: {'.'.join(map(str, here))}: named twice")
                keys.add(str(key.value))
            yield here, line
            yield from walk(value, here)
        above.pop()

    return walk(root, ())


def write_keys(path: Path, values: Mapping[tuple[str, ...], str]) -> bool:
    """Set keys in a settings file, or in a new one; comments and all else stay as they are.

    False when all was so already. Raises ConfigError for a file that cannot be read or written,
    or whose form (aliases, for one) would make the change reach further.
    """
    import yaml

    # The text is edited, as PyYAML writes no comments. What an edit does to an odd form is not
    # foreseen but read back: either just these keys are different, or the file stays as it is.
    path = path.resolve()
    wanted: Any = read_settings(path).data if path.exists() else {}
    written = path.read_bytes().decode("utf-8") if path.exists() else ""
    old = new = written.replace("\r\n", "\n")
    try:
        for keys, value in values.items():
            new = _set_in_text(new, keys, value)
            wanted = _set_in_data(wanted, keys, value)
        good = new == old or yaml.safe_load(new) == wanted
    except yaml.YAMLError:
        good = False
    if not good:
        names = ", ".join(".".join(one) for one in values)
        raise ConfigError(
            f"{path}: {names} could not be set without changing more: set them by hand"
        )
    if new == old:
        return False
    if "\r\n" in written:
        new = new.replace("\n", "\r\n")
    try:
        # No secret stands in it: who may read a new file is up to the umask.
        write_atomic(path, new.encode("utf-8"), mode=0o666)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from error
    return True


def _set_in_data(data: Any, keys: Sequence[str], value: str) -> Any:
    """A copy with one key set. What an alias in the file shows elsewhere too is not changed."""
    if not keys:
        return data if str(data) == value else value
    inside = data if isinstance(data, dict) else {}
    return {**inside, keys[0]: _set_in_data(inside.get(keys[0]), keys[1:], value)}


def _set_in_text(text: str, keys: Sequence[str], value: str) -> str:
    """Replace the value of a key, or add the key where its section, or the file, begins or ends."""
    import yaml

    # Without a width PyYAML would fold a long value over several lines.
    scalar = yaml.safe_dump(value, width=10_000).splitlines()[0]

    def block(keys: Sequence[str], indent: str) -> str:
        lines = [f"{indent}{'  ' * depth}{key}:" for depth, key in enumerate(keys)]
        return "\n".join(lines) + f" {scalar}\n"

    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    node, keys = root, list(keys)
    while isinstance(node, yaml.MappingNode):
        found = next((one for name, one in node.value if name.value == keys[0]), None)
        if found is None:
            break
        rest = keys[1:]
        if not rest and found.value == value:
            return text
        if not rest or not isinstance(found, yaml.MappingNode):
            put = "\n" + block(rest, "  ").rstrip("\n") if rest else f" {scalar}"
            return text[: found.start_mark.index].rstrip(" ") + put + text[found.end_mark.index :]
        node, keys = found, rest
    if isinstance(node, yaml.MappingNode) and node.flow_style:  # {a: 1, b: 2}
        at = node.end_mark.index - 1
        entry = "".join(f"{key}: {{" for key in keys[:-1]) + f"{keys[-1]}: {scalar}"
        comma = ", " if node.value else ""
        return text[:at] + comma + entry + "}" * (len(keys) - 1) + text[at:]
    if node is root:
        return (text if not text or text.endswith("\n") else text + "\n") + block(keys, "")
    first = node.value[0][0].start_mark
    start = first.index - first.column
    return text[:start] + block(keys, " " * first.column) + text[start:]
