"""Azure Machine Learning on loopback, for tests: see `azure.LoopbackAzure`."""

from tests.azure_loopback.azure import LoopbackAzure

__all__ = ["LoopbackAzure"]
