"""The command, the supervisor and the pipeline: what runs connectors."""

__version__ = "0.1.0"


def implementation() -> str:
    """Whether the hot path runs as native code: ``compiled``, or ``plain`` for the same source interpreted."""
    import schema.encoder

    return "plain" if (schema.encoder.__file__ or "").endswith(".py") else "compiled"
