"""Examples of a log that grows, each made once."""

import pytest

from tests.helpers import tiny


@pytest.fixture(scope="session")
def rows():
    """Sixty rows a day."""
    return tiny.make_rows(360)


@pytest.fixture(scope="session")
def log(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("days") / "log"
    tiny.write_log(folder, rows)
    return folder


@pytest.fixture(scope="session")
def first(log):
    """Trained on three days, tested on the fourth; later rows are not read."""
    from steadyrank.pipeline.kinds import preprocess
    from steadyrank.pipeline.preprocess.plan import Addition

    output, day = log.parent / "first", tiny.DATES[3]
    preprocess(tiny.config_on(day), log, output, addition=Addition(until=day))
    return output


@pytest.fixture(scope="session")
def second(log, first):
    """The fourth and fifth day added, tested on the sixth."""
    from steadyrank.pipeline.kinds import preprocess
    from steadyrank.pipeline.preprocess.plan import Addition

    output = log.parent / "second"
    preprocess(tiny.config_on(tiny.DATES[5]), log, output, addition=Addition(first))
    return output
