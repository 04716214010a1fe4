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
