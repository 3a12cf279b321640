"""guardian: decide about videos that other people upload."""

__version__ = "0.1.0"
