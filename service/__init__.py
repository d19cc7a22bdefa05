"""The command, the supervisor and the pipeline: what runs connectors."""

__version__ = "0.1.0"
