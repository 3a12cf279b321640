"""MLflow without its noise, and with our errors."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from typing import TYPE_CHECKING

from guardian_cli.errors import MissingError, PlatformError
from guardian_cli.settings import calm_mlflow
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOISY = ("mlflow", "alembic", "sqlalchemy", "git", "azureml")


@contextlib.contextmanager
def quiet_mlflow(problem: str, server_uri: str | None) -> Iterator[None]:
    """Keep MLflow from stdout and from chatting on stderr; make its errors ours."""
    calm_mlflow()
    # stdout is for results, which other programs read.
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        # After the import, which sets levels of its own. Its errors are raised as well as logged,
        # and logged with their traceback.
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.CRITICAL)

        where = f" at {mask_url(server_uri)}" if server_uri else ""
        try:
            yield
        except ModuleNotFoundError as error:
            # Drivers of databases, and of stores of artifacts, are for whoever has such.
            raise MissingError(
                f"{problem}{where}: that needs {error.name}, which is not installed",
                hint=f"pip install {error.name}",
            ) from error
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = str(error).replace(server_uri, mask_url(server_uri)) if server_uri else error
            raise PlatformError(f"{problem}{where}: {reason}") from error
