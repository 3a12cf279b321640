"""A custom model behind a scoring URI: one detector for each category that has one."""

from guardian_cli.detectors.endpoint.detector import EndpointDetector

__all__ = ["EndpointDetector"]
