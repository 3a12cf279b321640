"""The rules of the house that the syntax tree can check."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "guardian_cli"
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {
    "av", "azure", "cv2", "fsspec", "huggingface_hub", "mlflow", "nudenet", "numpy", "open_clip",
    "onnxruntime", "pandas", "pyarrow", "ray", "requests", "rich", "safetensors", "scipy",
    "sklearn", "torch", "torchvision", "yaml",
}  # fmt: skip

# Who may import whom, as layers: a file imports from its own layer or one further down.
LAYERS = [
    {"cli", "__main__"},
    {"commands", "library"},
    {"watching"},
    {"evaluation"},
    {"cluster"},
    {"scanning", "store"},
    {"evidence"},
    {"reports"},
    {"training"},
    {"lifecycle", "doctor"},
    {"detectors", "media", "console", "progress", "config", "settings", "settings_file"},
    {"prompts", "files", "http", "addresses", "urls", "endpoint_keys"},
    {"verdict"},
    {"serving"},
    {"errors", "__init__"},
]
# The pure rooms know numbers and each other, nothing else.
PURE = {
    "verdict", "detectors/fusion.py", "media/frames.py", "media/worker/sampling.py", "urls.py",
    "lifecycle/release/plan.py", "lifecycle/release/planner.py", "lifecycle/release/roles.py",
    "lifecycle/release/traffic.py", "lifecycle/release/history.py", "lifecycle/release/metrics.py",
    "lifecycle/models.py", "lifecycle/environment_file.py", "evaluation/compare.py",
    "watching/figures.py",
    "lifecycle/cost.py", "watching/split.py",
}  # fmt: skip


# What open_clip and torch do not promise is used here alone, and checked when it runs.
PRIVATE_NAMES = "detectors/clip/speedups.py"

# Leaves that others load late: in the processes of the decoder and of the local endpoint, and where
# a network is built.
LATE = {
    "lifecycle/local/app.py",
    "lifecycle/local/server.py",
    "media/worker/picture.py",
    "media/worker/reader.py",
    "media/worker/stills.py",
    "media/worker/tracks.py",
    "serving/networks.py",
    "training/model/heads.py",
}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports_of(path: Path, *, runtime: bool = True) -> set[str]:
    found: set[str] = set()
    tree = tree_of(path)
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if runtime and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def is_pure(name: str) -> bool:
    """Whether a file (a/b.py) or a module (guardian_cli.a.b) is in one of the pure rooms."""
    bare = name.removeprefix("guardian_cli.").removesuffix(".py").replace(".", "/")
    rooms = (pure.removesuffix(".py") for pure in PURE)
    return any(bare == room or bare.startswith(f"{room}/") for room in rooms)


def layer_of(module: str) -> int:
    room = module.removeprefix("guardian_cli").lstrip(".").split(".")[0] or "__init__"
    return next(number for number, layer in enumerate(LAYERS) if room in layer)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down_never_back(path: Path) -> None:
    room = name_of(path).split("/")[0].removesuffix(".py")
    own = layer_of(f"guardian_cli.{room}")
    for module in imports_of(path):
        if module.startswith("guardian_cli") and not (is_pure(name_of(path)) and is_pure(module)):
            assert layer_of(module) >= own, f"{name_of(path)} imports {module}, which is above it"


def test_nobody_but_the_decoder_process_imports_its_room() -> None:
    room = "guardian_cli.media.worker"
    outside = [path for path in FILES if not name_of(path).startswith("media/worker/")]
    climbing = [
        name_of(path)
        for path in outside
        if any(f"{module}.".startswith(f"{room}.") for module in imports_of(path, runtime=False))
    ]
    assert not climbing


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_cli_knows_typer(path: Path) -> None:
    allowed = name_of(path) == "cli.py" or name_of(path).startswith("commands/")
    assert allowed or not any(m.split(".")[0] in {"typer", "click"} for m in imports_of(path))
    assert "click" not in {m.split(".")[0] for m in imports_of(path)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_libraries_stay_inside_functions(path: Path) -> None:
    tree = tree_of(path)
    if name_of(path) in LATE:
        return
    for node in tree.body:
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        assert not HEAVY & {name.split(".")[0] for name in names}, f"line {node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_private_names_of_other_packages_stay_in_one_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if name_of(path) == PRIVATE_NAMES:
        return
    assert "noqa: SLF" not in text, "ruff would find one here"
    foreign = {name for name in imports_of(path) if not name.startswith("guardian_cli")}
    parts = {part for name in foreign for part in name.split(".")}
    assert not {part for part in parts if part.startswith("_") and part != "__future__"}
    assert "ctypes" not in parts


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_pure_rooms_touch_nothing(path: Path) -> None:
    name = name_of(path)
    if not is_pure(name):
        return
    outside = {"os", "sys", "time", "socket", "subprocess", "threading", "requests", "pathlib"}
    assert not outside & {module.split(".")[0] for module in imports_of(path)}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_console_prints_and_only_the_config_reads_the_environment(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = tree_of(path)
    prints = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not prints or name_of(path) == "console.py"
    worker = name_of(path).startswith("media/") or name_of(path) == "serving/score.py"
    start = name_of(path) in {"__init__.py", "__main__.py"}
    assert "os.environ" not in text or name_of(path) == "settings.py" or worker or start


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 420
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef):
            size = (node.end_lineno or node.lineno) - node.body[0].lineno + 1
            assert size <= 70, f"{node.name} at line {node.lineno}: {size} lines"


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(argument: str) -> None:
    code = (
        "import sys\n"
        "from guardian_cli.cli import run\n"
        f"assert run([{argument!r}]) == 0\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(ast.literal_eval(done.stderr.strip().splitlines()[-1]))
    assert not loaded & (HEAVY | {"pydantic"}), loaded & HEAVY
    assert done.stdout.strip()


def test_late_leaves_are_not_loaded_early() -> None:
    code = (
        "import sys\n"
        "import guardian_cli.scanning.pipeline, guardian_cli.media.decoder\n"
        "print(sorted(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(ast.literal_eval(done.stdout))
    for name in LATE:
        module = "guardian_cli." + name.removesuffix(".py").replace("/", ".")
        assert module not in loaded
    assert not {"numpy", "cv2", "torch"} & loaded
