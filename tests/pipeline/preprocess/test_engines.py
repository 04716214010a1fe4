"""No engine that is let in loses a row, and those that would are refused by name."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
)
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.preprocess.engines import gave_up, options_of

LIMIT = "DATA_BUFFER_TIME_LIMIT_MS"
ELEMENTS, EACH, KEYS = 20, 5000, 7
THREADS = ["--runner=FnApiRunner", "--direct_running_mode=multi_threading"]
THREADS += ["--direct_num_workers=2"]


def spread(number: int):
    for place in range(EACH):
        yield (number * EACH + place) % KEYS, b"x" * 200


def count_elements(options, folder) -> int:
    """Elements that come out of a shuffle of ``ELEMENTS * EACH``."""
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | beam.Create(range(ELEMENTS))
            | beam.Reshuffle()
            | beam.FlatMap(spread)
            | beam.GroupByKey()
            | beam.MapTuple(lambda key, values: (key, sum(1 for _ in values)))
            | beam.MapTuple(lambda key, n: (folder / str(key)).write_text(str(n)))
        )
    return sum(int(file.read_text()) for file in folder.iterdir())


def test_what_flushes_by_time_is_turned_off_and_nothing_is_lost(tmp_path, monkeypatch):
    """With the limit forced to 1 ms, one run in three loses thousands of elements."""
    for number in range(8):
        monkeypatch.setattr(worker_handlers, LIMIT, 1)
        folder = tmp_path / str(number)
        folder.mkdir()
        assert count_elements(options_of(THREADS), folder) == ELEMENTS * EACH
        assert getattr(worker_handlers, LIMIT) == 0


def test_a_beam_that_moved_the_constant_is_not_trusted(monkeypatch):
    monkeypatch.delattr(worker_handlers, LIMIT)
    with pytest.raises(RuntimeError, match="time limit"):
        options_of([])


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--runner=DaskRunner"], "DaskRunner is refused: it routes no tagged outputs"),
        (["--runner=apache_beam.runners.dask.dask_runner.DaskRunner"], "refused"),
        (["--experiments=data_buffer_time_limit_ms=20"], "limit_ms=20 is refused"),
        (
            ["--runner=FlinkRunner", "--experiments=data_buffer_time_limit_ms=1"],
            "limit_ms=1 is refused",
        ),
        (["--runner=FlinkRuner"], "--runner=FlinkRuner: "),
        (["--direct_num_worker=2"], "Did you mean '--direct_num_workers'"),
    ],
)
def test_engines_and_settings_that_would_lose_rows_are_refused(flags, said):
    with pytest.raises(InputError) as error:
        options_of(flags)
    assert said in str(error.value)


def test_a_limit_of_nothing_is_let_in():
    assert options_of(["--experiments=data_buffer_time_limit_ms=0"])


JAVA = """Pipeline job_1 failed in state FAILED: java.lang.Exception: the job failed
\tat org.apache.flink.runtime.Task.run(Task.java:566)
Caused by: TaskManager with id 1 is no longer reachable.
\tat java.base/java.lang.Thread.run(Thread.java:840)
\t... 13 more
"""


def test_a_job_that_an_engine_gave_up_may_be_tried_again():
    told = gave_up(RuntimeError(JAVA), options_of(["--runner=FlinkRunner"]))
    assert isinstance(told, PassingError)
    said = "gave the job up: Caused by: TaskManager with id 1 is no longer reachable."
    assert said in str(told) and "\n" not in str(told)


@pytest.mark.parametrize(
    "error, flags",
    [
        (RuntimeError("a fault of ours"), []),
        (RuntimeError("the same"), ["--runner=PortableRunner", "--job_endpoint=embed"]),
        (InputError("data.input: no rows"), ["--runner=FlinkRunner"]),
        (OSError(28, "No space left on device"), ["--runner=SparkRunner"]),
    ],
)
def test_what_is_no_engines_fault_keeps_its_own_words(error, flags):
    assert gave_up(error, options_of(flags)) is None


def test_a_view_of_options_is_made_once_and_says_what_a_new_one_does():
    flags = [*THREADS, "--temp_location=/somewhere"]
    options, plain = options_of(flags), PipelineOptions(flags)
    for kind in (DirectOptions, GoogleCloudOptions, SetupOptions):
        view = options.view_as(kind)
        assert view is options.view_as(kind)
        assert view.get_all_options() == plain.view_as(kind).get_all_options()
    options.view_as(GoogleCloudOptions).temp_location = "/elsewhere"
    assert options.view_as(SetupOptions).get_all_options()["temp_location"] == "/elsewhere"
