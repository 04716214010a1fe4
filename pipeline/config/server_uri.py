"""What names a tracking server, and holds nothing that a config may not be copied with."""

from urllib.parse import unquote, urlsplit

ALLOWED = (
    "must be the URI of an MLflow server: http://HOST:PORT, https://HOST, or databricks"
)


def checked_uri(uri: str) -> str:
    """The URI of a server, as it was given.

    A config stands beside each model and in each report: a password has no place in it.

    Raises:
        ValueError: It is none, or names who asks; of such a one nothing is repeated.
    """
    if {"@", "?"} & {*unquote(uri)}:
        raise ValueError(
            "names who asks, and a config is copied to wherever its model goes: set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_TOKEN, in the environment, and leave them out here. "
            "Received: a URI with @ or ?"
        )
    parts = _split(uri)
    named = parts.scheme in ("http", "https") and parts.hostname and _has_port(parts)
    of_databricks = uri == "databricks" or parts.scheme == "databricks" and parts.netloc
    spaced = any(letter.isspace() for letter in uri)
    if spaced or parts.fragment or not (named or of_databricks):
        raise ValueError(ALLOWED)
    return uri


def _split(uri: str):
    try:
        return urlsplit(uri)
    except ValueError:  # of brackets
        raise ValueError(ALLOWED) from None


def _has_port(parts) -> bool:
    """Whether the port is one, where one is given."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False
