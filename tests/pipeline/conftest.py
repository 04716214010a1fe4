"""One tiny log, its examples, a trained model and an export, each made once."""

import pytest

from pipeline.config import parse_config
from tests.pipeline import tiny


@pytest.fixture(scope="session")
def config():
    return parse_config(tiny.config_document(), "tiny.yaml")


@pytest.fixture(scope="session")
def log_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "log"
    tiny.write_log(folder)
    return folder


@pytest.fixture(scope="session")
def examples(config, log_folder):
    from pipeline.preprocess import preprocess

    output = log_folder.parent / "examples"
    preprocess(config, log_folder, output)
    return output


@pytest.fixture(scope="session")
def trained(config, examples):
    from pipeline.train import train

    output = examples.parent / "train"
    train(config, examples, output)
    return output


@pytest.fixture(scope="session")
def exported(config, trained):
    from pipeline.export import export

    return export(config, trained, trained.parent / "export")


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
    from pipeline.plan import Addition
    from pipeline.preprocess import preprocess

    output, day = log.parent / "first", tiny.DATES[3]
    preprocess(tiny.config_on(day), log, output, addition=Addition(until=day))
    return output


@pytest.fixture(scope="session")
def second(log, first):
    """The fourth and fifth day added, tested on the sixth."""
    from pipeline.plan import Addition
    from pipeline.preprocess import preprocess

    output = log.parent / "second"
    preprocess(tiny.config_on(tiny.DATES[5]), log, output, addition=Addition(first))
    return output
