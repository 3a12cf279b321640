"""guardian: decide about videos that other people upload.

As a library: `from guardian_cli import Scanner`; docs/library.md shows how.
"""

import os
from importlib import import_module

# What type checkers take for typing's own, whose import would take longer than all of this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from guardian_cli.library import Result, Scanner

__version__ = "0.2.0"
__all__ = ["Result", "Scanner", "__version__"]

# No library that guardian loads reports to its makers. Most read this once, when they are imported,
# and onnxruntime looks up a host and keeps a device id even if its own switch is used right after
# that. So it stands here: whatever imports a part of guardian comes by first, and every process
# that guardian starts inherits it.
os.environ.update(
    {
        "ORT_DISABLE_TELEMETRY": "1",
        "ORT_TELEMETRY_DISABLED": "1",  # the name in some versions of onnxruntime
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",  # Azure's own exporter
        # Programs that azure-identity may start to sign in: az, azd, PowerShell.
        "AZURE_CORE_COLLECT_TELEMETRY": "0",
        "AZURE_DEV_COLLECT_TELEMETRY": "no",
        "POWERSHELL_TELEMETRY_OPTOUT": "1",
        "DO_NOT_TRACK": "true",
    }
)

if not TYPE_CHECKING:  # or a type checker would take every name to be there

    def __getattr__(name: str) -> object:
        """Bring the library when it is asked for: to import Pydantic takes a while."""
        if name not in {"Result", "Scanner"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module("guardian_cli.library"), name)
