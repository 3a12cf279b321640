from __future__ import annotations

import base64
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING

import pytest

from guardian_cli.serving.format import find_artifact
from guardian_cli.serving.packaging import copy_code, list_requirements, write_scoring_folder
from tests.serving.models import CARD, draw_jpeg, save_constant_model, write_constant_model

if TYPE_CHECKING:
    from pathlib import Path

ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
import guardian_cli.serving.model as model
from pathlib import Path
assert model.__file__.startswith(sys.argv[1]), model.__file__
scorer = model.load_model(Path(sys.argv[2]))
print(scorer.score([Path(sys.argv[3]).read_bytes()])[0])
loaded = {name for name in sys.modules if name.startswith("guardian_cli")}
assert all(name.startswith("guardian_cli.serving") or name == "guardian_cli" for name in loaded)
assert not {"pydantic", "mlflow", "cv2", "typer"} & set(sys.modules)
"""


@pytest.mark.slow
def test_the_code_that_travels_runs_without_the_rest_of_guardian(tmp_path: Path) -> None:
    copy_code(tmp_path / "code")
    save_constant_model(tmp_path / "model", 0.0)
    (tmp_path / "frame.jpg").write_bytes(draw_jpeg())
    folders = [str(tmp_path / name) for name in ("code", "model", "frame.jpg")]
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, *folders],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(0.5)


@pytest.mark.slow
def test_mlflow_serves_the_same_scores_from_base64(tmp_path: Path) -> None:
    folder = write_constant_model(tmp_path / "mlflow", 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        import pandas as pd

        before = list(sys.path)
        model = mlflow.pyfunc.load_model(str(folder))
        # MLflow leaves the model's own copy of guardian_cli in front, also for processes that other
        # tests start.
        sys.path[:] = before
        frames = [base64.b64encode(draw_jpeg(level)).decode() for level in (0, 255)]
        scores = model.predict(pd.DataFrame({"image": frames}))
    assert scores == pytest.approx([0.8807970, 0.8807970], abs=1e-6)
    assert find_artifact(folder).is_relative_to(folder / "data")
    assert (folder / "code" / "guardian_cli" / "serving" / "model.py").is_file()


def test_the_scoring_folder_has_the_script_and_its_code(tmp_path: Path) -> None:
    assert write_scoring_folder(tmp_path).name == "score.py"
    assert (tmp_path / "guardian_cli" / "serving" / "model.py").is_file()
    assert not (tmp_path / "guardian_cli" / "cli.py").exists()


def test_requirements_are_pinned_and_few() -> None:
    names = [line.split("==")[0] for line in list_requirements(CARD)]
    assert names == ["numpy", "pillow", "safetensors", "torch"]
    assert all("==" in line and "+" not in line for line in list_requirements(CARD))
