"""The URI of a tracking server: what is one, and that no password is repeated."""

import pytest

from steadyrank.pipeline.config import parse_config
from tests.helpers.refused_config import refused
from tests.helpers.tiny import config_document


@pytest.mark.parametrize(
    "uri",
    [
        "http://mlflow:5000",
        "https://example.org/team/",
        "http://[::1]:5000",
        "databricks",
        "databricks://profile",
    ],
)
def test_a_server_of_mlflow_is_named_by_its_uri(uri):
    tracking = parse_config(config_document(tracking={"mlflow": uri}), "c").tracking
    assert (tracking.mlflow, tracking.experiment) == (uri, "steadyrank")


@pytest.mark.parametrize(
    "uri",
    [
        "mlflow:5000",
        "file:///mlruns",
        "sqlite:///m.db",
        "http://",
        "http://host:port",
        "http://host:99999",
        "http://[::1",
        "http://a b",
        "http://host#f",
        "databricks://",
        "",
    ],
)
def test_what_is_no_server_of_mlflow_is_refused(uri):
    said = refused(config_document(tracking={"mlflow": uri}))
    assert "tracking.mlflow: must be the URI of an MLflow server" in said
    assert f"Received: {uri!r}" in said


@pytest.mark.parametrize(
    "uri",
    ["http://me:secret@host", "me:secret@host", "x@secret", "http://h?key=secret"]
    + ["http://me%3Asecret%40host"],
)
def test_a_password_has_no_place_in_a_config_and_is_not_repeated(uri):
    said = refused(config_document(tracking={"mlflow": uri}))
    assert "MLFLOW_TRACKING_PASSWORD" in said and "secret" not in said


@pytest.mark.parametrize(
    "tracking",
    ["http://me:secret@host", {"experiment": 5, "http://me:secret@host": None}],
)
def test_nor_is_it_where_a_uri_stands_in_a_wrong_place(tracking):
    said = refused(config_document(tracking=tracking))
    assert "http://***@host" in said and "secret" not in said
