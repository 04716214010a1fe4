"""Faults that may be gone at the next try are told from bad input."""

import pytest
from apache_beam.io.filesystem import BeamIOError
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from steadyrank.pipeline.files.errors import InputError, PassingError, fault
from steadyrank.pipeline.raw_log.formats.parquet import Parquet
from tests.helpers import tiny
from tests.helpers.log_on_disk import ROWS, run


@pytest.fixture
def folder(tmp_path):
    tiny.write_log(tmp_path / "in", ROWS)
    return tmp_path / "in"


def answer(status, code="Some") -> Exception:
    """What boto3 raises on an answer."""
    found = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}
    return ClientError(found, "GetObject")


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (answer(500), True),
        (answer(503, "SlowDown"), True),
        (answer(429), True),
        (answer(400, "RequestTimeout"), True),
        (answer(400, "Throttling"), True),
        (answer(400, "InvalidArgument"), False),
        (answer(403), False),
        (answer(404), False),
        (ReadTimeoutError(endpoint_url="x"), True),
        (EndpointConnectionError(endpoint_url="x"), True),
        (NoCredentialsError(), False),
        (ConnectionResetError(104, "reset by peer"), True),
        (TimeoutError(), True),
        (BeamIOError("match failed", {"s3://b": answer(500)}), True),
        (BeamIOError("match failed", {"s3://b": answer(404)}), False),
        (OSError("not a Parquet file"), False),
        (InputError("a word of ours"), False),
        (PassingError("a word of ours"), True),
    ],
)
def test_faults_that_may_be_gone_at_the_next_try_are_told_apart(error, passing):
    assert isinstance(fault("said", error), PassingError if passing else InputError)


def test_a_connection_that_breaks_in_a_worker_is_no_bad_input(folder, monkeypatch):
    whole = Parquet.read

    def broken(self, path, part):
        if path.endswith("log.parquet"):
            raise ConnectionResetError(104, "Connection reset by peer")
        yield from whole(self, path, part)

    monkeypatch.setattr(Parquet, "read", broken)
    with pytest.raises(PassingError, match=r"log.parquet: .* reset by peer"):
        run(folder)
