"""The examples for CI: valid by their published schemas, and their shell does what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema.validators import validator_for

from guardian_cli.cli import app
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

GITHUB = REPOSITORY / "examples" / "ci" / "github-workflow.yml"
AZURE = REPOSITORY / "examples" / "ci" / "azure-pipelines.yml"
# Stands in for guardian: writes down how it was called, and ends as the file of its verb says.
STAND_IN = """#!{python}
import json, pathlib, sys
here = pathlib.Path({folder!r})
with (here / "calls.jsonl").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
code = here / f"{{sys.argv[1]}}.code"
sys.exit(int(code.read_text()) if code.exists() else 0)
"""


class Loader(yaml.SafeLoader):
    """YAML as GitHub reads it: `on` is a word."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    # To Azure a pipeline is made of words alone, and so its schema has it. The other loader is
    # PyYAML's safe one, less its booleans.
    return (
        yaml.load(text, yaml.BaseLoader) if path == AZURE else as_booleans(yaml.load(text, Loader))
    )


def as_booleans(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_booleans(one) for key, one in value.items()}
    if isinstance(value, list):
        return [as_booleans(one) for one in value]
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("path", "schema"), [(GITHUB, "github-workflows"), (AZURE, "azure-pipelines")]
)
def test_they_hold_their_published_schemas(path: Path, schema: str) -> None:
    place = f"check_jsonschema/builtin_schemas/vendor/{schema}.json"
    published = Path(str(distribution("check-jsonschema").locate_file(place)))
    rules = json.loads(published.read_text(encoding="utf-8"))
    validator = validator_for(rules)(rules)
    assert not list(validator.iter_errors(read(path)))
    assert list(validator.iter_errors({"jobs": {"a": {"steps": "none"}}, "stages": 5}))


def scripts(value: Any) -> Iterator[str]:
    """Every piece of shell in a workflow, in order."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key in {"run", "bash", "inlineScript"} and isinstance(one, str):
                yield one
            else:
                yield from scripts(one)
    elif isinstance(value, list):
        for one in value:
            yield from scripts(one)


def run_scripts(path: Path, folder: Path) -> list[tuple[int, list[list[str]]]]:
    """Run each piece with a stand-in for guardian; how it ended, and what it called."""
    folder.joinpath("bin").mkdir()
    for name in ("guardian", "pip"):
        program = folder / "bin" / name
        program.write_text(STAND_IN.format(python=sys.executable, folder=str(folder)))
        program.chmod(0o755)
    (folder / "comparison.md").write_text("### Verdicts\n")
    environment = {
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin", "MODEL": "nsfw-detector", "VERSION": "2; exit 7",
        "GITHUB_RUN_ID": "11", "BUILD_BUILDID": "12",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
    }  # fmt: skip
    calls, done = folder / "calls.jsonl", []
    for script in scripts(read(path)):
        calls.write_text("")
        ended = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        lines = calls.read_text(encoding="utf-8").splitlines()
        done.append((ended.returncode, [json.loads(line) for line in lines]))
    return done


@pytest.mark.parametrize("path", [GITHUB, AZURE], ids=["github", "azure"])
@pytest.mark.parametrize(("alert", "ends"), [(0, 0), (12, 0), (2, 2)])
def test_their_shell_calls_what_there_is(tmp_path: Path, path: Path, alert: int, ends: int) -> None:
    (tmp_path / "monitor.code").write_text(str(alert))
    done = run_scripts(path, tmp_path)
    watched = next(code for code, calls in done if any(one[0] == "monitor" for one in calls))
    assert watched == ends
    assert all(code in {0, ends} for code, _ in done)
    called = [one for _, calls in done for one in calls if one[0] != "install"]
    order = [one[0] for one in called]
    wanted = ["evaluate", "compare", "deploy", "deploy", "monitor"]
    # In one script, a failure of the monitor is the end of it.
    assert order[:5] == wanted
    assert order[5:] in (["retrain"], [] if ends else ["retrain"])
    from typer.main import get_command

    # Every word is one that guardian knows; what a person typed stays one word.
    root: Any = get_command(app)
    for verb, *arguments in called:
        root.commands[verb].make_context(verb, list(arguments), parent=root.make_context("g", []))
    assert called[2][2:4] == ["--version", "2; exit 7"]
    assert "--promote" in called[3]


@pytest.mark.parametrize("path", [GITHUB, AZURE], ids=["github", "azure"])
def test_a_comparison_that_says_no_deploys_nothing(tmp_path: Path, path: Path) -> None:
    (tmp_path / "compare.code").write_text("12")
    for code, calls in run_scripts(path, tmp_path):
        verbs = [one[0] for one in calls]
        if "compare" in verbs:
            assert code == 12
            assert "deploy" not in verbs
