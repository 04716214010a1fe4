"""The schedulers' files: they try again what may pass, and nothing else."""

import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest
import typer
import yaml

from steadyrank.pipeline import cli
from steadyrank.pipeline.cli import application

ROOT = Path(__file__).resolve().parents[1]
DAG_FILE = ROOT / "docker" / "airflow" / "nightly.py"
ARGO = yaml.safe_load((ROOT / "docker" / "argo" / "nightly.yaml").read_text())
SAME_AGAIN = {application.REFUSED, application.BAD_INPUT, application.DIVERGED}
AGAIN = (application.PASSING, application.BROKEN, application.INTERRUPTED, 137)
OPTIONS = {
    option
    for item in typer.main.get_command(cli.app).commands["nightly"].params
    for option in item.opts
}


def options_in(words: str) -> set[str]:
    return {*re.findall(r"--[a-z-]+", words)} - {"--log-format"}


def test_argo_tries_again_what_may_pass():
    (template,) = ARGO["spec"]["workflowSpec"]["templates"]
    retry = template["retryStrategy"]
    never = re.fullmatch(r"!\(lastRetry.exitCode in \[(.*)\]\)", retry["expression"])[1]
    assert {int(word.strip(" '")) for word in never.split(",")} == SAME_AGAIN
    assert retry["retryPolicy"] == "Always" and int(retry["limit"]) > 10
    assert options_in(template["container"]["args"][0]) <= OPTIONS
    assert ARGO["spec"]["concurrencyPolicy"] == "Forbid"


def test_argo_reads_its_workflow():
    """By the models of Hera, Argo's Python library."""
    models = pytest.importorskip("hera.workflows.models", reason="pip install hera")
    found = models.CronWorkflow.model_validate(ARGO)
    assert found.spec.workflow_spec.templates[0].retry_strategy.limit.root == "50"


class Fails(Exception):
    """In place of Airflow's."""


class FailsForGood(Fails):
    """In place of the one that is not tried again."""


class Dag:
    """In place of Airflow's."""

    def __init__(self, **settings):
        self.settings = settings

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """There is nothing to leave."""


@pytest.fixture
def airflow(monkeypatch):
    """Airflow's names, as far as the file uses them: it is too large for a test."""
    exceptions = types.ModuleType("airflow.exceptions")
    exceptions.AirflowException, exceptions.AirflowFailException = Fails, FailsForGood
    sdk = types.ModuleType("airflow.sdk")
    sdk.DAG, sdk.Variable = Dag, None
    sdk.task = lambda **settings: lambda function: lambda day: settings
    modules = {"airflow": types.ModuleType("airflow"), "airflow.sdk": sdk}
    for name, module in {**modules, "airflow.exceptions": exceptions}.items():
        monkeypatch.setitem(sys.modules, name, module)
    return load()


def load():
    spec = importlib.util.spec_from_file_location("steadyrank_dag", DAG_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("status", [0, *SAME_AGAIN, *AGAIN])
def test_airflow_tries_again_what_may_pass(airflow, monkeypatch, status):
    ran = []

    def run(command):
        ran.append(command)
        return types.SimpleNamespace(returncode=status)

    monkeypatch.setattr(airflow.subprocess, "run", run)
    raised = None
    try:
        airflow.night("2026-01-01", "c", "s", "d")
    except Fails as error:
        raised = type(error)
    wanted = None if status == 0 else FailsForGood if status in SAME_AGAIN else Fails
    assert raised is wanted
    assert ran[0][:2] == ["steadyrank", "nightly"]
    assert options_in(" ".join(ran[0])) <= OPTIONS
    assert airflow.dag.settings["max_active_runs"] == 1


def test_airflow_loads_its_dag():
    pytest.importorskip("airflow.models", reason="pip install apache-airflow")
    dag = load().dag
    assert [task.task_id for task in dag.tasks] == ["nightly"]
    assert dag.tasks[0].retries == 24
