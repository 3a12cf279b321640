"""How the scoring code travels: as a folder for Azure's inference server, as an MLflow model."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from guardian_cli.serving.format import read_card

if TYPE_CHECKING:
    from guardian_cli.serving.format import ModelCard

PACKAGE = Path(__file__).resolve().parent.parent
_NEEDED = ("numpy", "pillow", "safetensors", "torch")
_NEEDED_BY = {"clip-head": ("open_clip_torch",)}


def list_requirements(card: ModelCard) -> list[str]:
    """List what a model needs to be served, pinned to what is installed here."""
    names = sorted((*_NEEDED, *_NEEDED_BY.get(card.architecture, ())), key=str.lower)
    # A local build (2.9.0+cpu) is not on the package index: only its public version counts.
    return [f"{name}=={version(name).split('+')[0]}" for name in names]


def copy_code(folder: Path) -> Path:
    """Copy the package `guardian_cli`, serving only, into a folder; return where it is."""
    package = folder / PACKAGE.name
    (package / "serving").mkdir(parents=True, exist_ok=True)
    # The package's own face as well, or the folder would be another kind of package.
    shutil.copyfile(PACKAGE / "__init__.py", package / "__init__.py")
    for source in sorted((PACKAGE / "serving").glob("*.py")):
        shutil.copyfile(source, package / "serving" / source.name)
    return package


def write_scoring_folder(folder: Path) -> Path:
    """Write score.py and the code beside it into a folder; return score.py."""
    copy_code(folder)
    shutil.copyfile(PACKAGE / "serving" / "score.py", folder / "score.py")
    return folder / "score.py"


def write_mlflow_model(artifact: Path, folder: Path) -> None:
    """Write an artifact as an MLflow pyfunc model that carries its own code.

    `folder` must be new or empty; the artifact is then at `folder/data/<its name>`, where
    `format.find_artifact` finds it. Raises FormatError for a folder with no card.
    """
    card = read_card(artifact)
    with (
        tempfile.TemporaryDirectory(prefix="guardian-code-") as scratch,
        warnings.catch_warnings(),
    ):
        # MLflow warns about its own type hints, and would like an example beside the signature.
        warnings.simplefilter("ignore")
        import mlflow.pyfunc
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, DataType, Schema

        package = copy_code(Path(scratch))
        mlflow.pyfunc.save_model(
            path=str(folder),
            loader_module="guardian_cli.serving.model",
            data_path=str(artifact),
            code_paths=[str(package)],
            pip_requirements=[f"mlflow=={version('mlflow')}", *list_requirements(card)],
            signature=ModelSignature(
                inputs=Schema([ColSpec(DataType.string, "image")]),
                outputs=Schema([ColSpec(DataType.double)]),
            ),
            metadata={"category": card.category, "format": card.format},
        )
