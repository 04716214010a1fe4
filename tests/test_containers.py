"""Dockerfile and manifests: what they name exists, and agrees with the command line."""

import errno
import json
import logging
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
import typer
import yaml
from rich.table import Table

import steadyrank
from steadyrank.pipeline import cli
from steadyrank.pipeline.cli import application, terminal
from steadyrank.pipeline.cli.json_console import JsonConsole, JsonProgress
from steadyrank.pipeline.config.cluster import cluster
from steadyrank.pipeline.files import object_store
from steadyrank.pipeline.files.errors import PassingError, no_space
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.files.publish import publish

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(cli.app).commands


def compose() -> dict:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


def manifests() -> dict[str, dict]:
    """The job of each; beside it a file may hold what it needs."""
    found = sorted((DOCKER / "k8s").glob("*.yaml"))
    return {
        path.stem: list(yaml.safe_load_all(path.read_text(encoding="utf-8")))[-1]
        for path in found
    }


def check_options(arguments: list[str]) -> None:
    """Each option is one of the command, or of the command line before it."""
    index = next(i for i, word in enumerate(arguments) if not word.startswith("-"))
    assert all(word.startswith("--log-format=") for word in arguments[:index])
    command = COMMANDS[arguments[index]]
    known = {option for item in command.params for option in item.opts}
    given = {word.split("=")[0] for word in arguments[index + 1 :] if word[:2] == "--"}
    assert given and given <= known


@pytest.mark.parametrize("name", ["preprocess", "train", "export", "evaluate", "release"])
def test_a_service_calls_its_stage_with_options_that_it_has(name):
    service = compose()["services"][name]
    assert name in service["command"] and service["restart"] == "no"
    check_options(service["command"])


def test_the_stages_wait_for_one_another():
    services = compose()["services"]
    order = ["preprocess", "train", "export", "evaluate", "release"]
    for before, after in zip(order, order[1:], strict=False):
        condition = services[after]["depends_on"][before]["condition"]
        assert condition == "service_completed_successfully"


def test_tensorboard_reads_a_training_that_runs():
    """Until it ends its folder has another name, which must be looked through, too."""
    services = compose()["services"]
    output = services["train"]["command"][-1].removeprefix("--output=")
    logs = services["tensorboard"]["command"][0].removeprefix("--logdir=")
    assert output.startswith("$") and logs == output.rpartition("/")[0]


def job(name: str) -> dict:
    spec = manifests()[name]["spec"]
    return spec.get("jobTemplate", {}).get("spec", spec)


@pytest.mark.parametrize("name", ["nightly", "sweep", "train"])
def test_a_job_does_not_try_again_what_would_end_the_same(name):
    spec = job(name)
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    rule, disrupted = spec["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob" and disrupted["action"] == "Ignore"
    assert rule["onExitCodes"]["containerName"] == container["name"]
    statuses = [application.REFUSED, application.BAD_INPUT, application.DIVERGED]
    assert rule["onExitCodes"]["values"] == statuses
    assert pod["restartPolicy"] == "Never" and spec["backoffLimit"] > 0
    assert container["image"] == f"steadyrank:{steadyrank.__version__}"
    user = re.search(r"^USER (\d+):", DOCKERFILE, re.MULTILINE).group(1)
    assert pod["securityContext"]["runAsUser"] == int(user) and user != "0"
    assert {"requests", "limits"} <= set(container["resources"])


@pytest.mark.parametrize("name", ["sweep", "nightly", "train"])
def test_the_jobs_call_commands_that_exist(name):
    script = job(name)["template"]["spec"]["containers"][0]["args"][0]
    words = shlex.split(script.partition("python -m steadyrank ")[2])
    check_options([word for word in words if word != "$resume"])


def test_each_pod_of_a_training_is_told_which_worker_it_is():
    """By the text that Kubernetes makes of TF_CONFIG, and names that its service gives."""
    text = (DOCKER / "k8s" / "train.yaml").read_text(encoding="utf-8")
    service, job = yaml.safe_load_all(text)
    spec, name = job["spec"], job["metadata"]["name"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    settings = {each["name"]: each for each in container["env"]}
    assert [*settings].index("INDEX") < [*settings].index("TF_CONFIG")  # else it stays
    index = settings["INDEX"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert index == "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert spec["completionMode"] == "Indexed"
    assert service["spec"]["selector"] == {"job-name": name}
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["clusterIP"] == "None"
    (port,) = (each["port"] for each in service["spec"]["ports"])
    for number in range(spec["parallelism"]):
        told = settings["TF_CONFIG"]["value"].replace("$(INDEX)", str(number))
        found = cluster({"TF_CONFIG": told})
        assert found.index == number and len(found.addresses) == spec["completions"]
        host = f"{name}-{number}.{pod['subdomain']}"
        assert found.addresses[number] == f"{host}:{port}"


def test_every_setting_of_object_storage_is_handed_on():
    """As it is in the environment, or not at all: an empty endpoint is one, too."""
    services = compose()["services"]
    for name in ("preprocess", "train", "export", "evaluate", "release"):
        handed = services[name]["environment"]
        assert set(object_store.SETTINGS) == set(handed)
        assert not any(handed.values())


def test_what_nobody_foresaw_has_a_status_of_its_own(monkeypatch, capsys):
    def broken(*_, **__):
        raise OSError("nobody knows why")

    monkeypatch.setattr(application, "app", broken)
    with pytest.raises(SystemExit) as left:
        cli.main(["inspect"])
    said = capsys.readouterr().err
    assert "Traceback" in said and "nobody knows why" in said
    assert left.value.code == application.BROKEN > application.DIVERGED


def test_what_may_be_gone_at_the_next_try_has_one_too(tmp_path, capsys):
    """So that a job is tried again: 1 to 3 end it."""
    with locked(tmp_path / "lock"), pytest.raises(SystemExit) as left:
        cli.main(["release", "--to", str(tmp_path), "--rollback"])
    assert "is in use by process" in capsys.readouterr().err
    assert left.value.code == application.PASSING == os.EX_TEMPFAIL
    assert f"**{application.PASSING}**" in (ROOT / "docs" / "commands.md").read_text()


FULL = [
    OSError(errno.ENOSPC, "No space left on device", "out/x"),
    shutil.Error([("a", "out/x", "[Errno 122] Disk quota exceeded: 'out/x'")]),
    RuntimeError("Traceback:\n  out/x, OSError: [Errno 27] File too large [while running]"),
    tf.errors.ResourceExhaustedError(None, None, "out/x; No space left on device"),
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_a_full_disk_is_named_in_a_line(error, monkeypatch, tmp_path, capsys):
    def broken(*_, **__):
        raise error

    with pytest.raises(PassingError, match="no space left to write .*/out .*out/x"):
        with publish(tmp_path / "out"), publish(tmp_path / "inner" / "out"):
            broken()
    monkeypatch.setattr(application, "app", broken)
    with pytest.raises(SystemExit) as left:
        cli.main(["inspect"])
    said = capsys.readouterr().err
    assert re.search(r"no space left to write a file \(.*out/x.*another --output", said)
    assert "\n" not in said.strip() and left.value.code == application.PASSING


def test_memory_that_does_not_do_is_no_full_disk():
    oom = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    assert no_space(oom) is None and no_space(OSError(errno.EACCES, "denied")) is None


def test_what_ends_a_container_ends_every_command(monkeypatch, capsys):
    def ended(*_, **__):
        signal.raise_signal(signal.SIGTERM)

    # a container's first process ignores what it has no handler for
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    monkeypatch.setattr(terminal, "write_as", ended)
    try:
        with pytest.raises(SystemExit) as left:
            cli.main(["inspect", "nothing"])
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
    assert left.value.code == application.INTERRUPTED == 130
    assert "told to end (SIGTERM)" in capsys.readouterr().err


def test_the_dockerfile_copies_what_is_there_and_ignores_the_rest():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    kept = {line[1:] for line in ignored if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert {source, source.split("/")[0]} & kept
    for named in re.findall(r"docker/[\w.]+\w", DOCKERFILE):
        assert (ROOT / named).exists(), named
    assert DOCKERFILE.count("FROM ") == 2 and "build-essential" not in final_stage()


def test_the_command_line_starts_from_what_the_image_holds(tmp_path):
    """The links of src/ lead to the folders beside it, wherever the image puts them."""
    module = runpy.run_path(str(DOCKER / "run_steps.py"))
    steps = module["Steps"](None, tmp_path, [], {})
    steps.root, steps.folder, steps.environment = tmp_path, "/", {"PATH": ""}
    for name, argument in module["instructions"](f"FROM {final_stage()}"):
        if name == "ENV" or name == "COPY" and "--from" not in argument:
            getattr(steps, name.lower())(argument)
        elif name == "ENTRYPOINT":
            steps.entrypoint(argument)
    source = f"{tmp_path}{steps.environment['PYTHONPATH']}"

    def python(*words) -> str:
        environment, command = (
            {**os.environ, "PYTHONPATH": source},
            [sys.executable, *words],
        )
        return subprocess.check_output(command, env=environment, cwd=tmp_path, text=True)

    said = "from steadyrank.pipeline import cli; print(cli.__file__)"
    assert python("-c", said).startswith(source)
    assert "preprocess" in python(*steps.entry[1:], "--help")


def final_stage() -> str:
    return DOCKERFILE.rpartition("\nFROM ")[2]


def test_the_images_requirements_are_those_of_setup(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("setuptools.setup", lambda **_: None)
    module = runpy.run_path(str(DOCKER / "requirements.py"))
    found = module["requirements"]("cpu")
    assert "tensorflow>=2.16.2,<2.17" in found and len(found) >= 14
    assert set(module["requirements"]("gpu")) - set(found) == {"tensorflow[and-cuda]"}
    with pytest.raises(SystemExit, match="must be cpu or gpu"):
        module["requirements"]("tpu")


def test_the_steps_are_read_as_docker_reads_them():
    module = runpy.run_path(str(DOCKER / "run_steps.py"))
    text = "# a\nFROM x AS y\nRUN a \\\n    # not this\n    && b\nUSER 1:1\n"
    expected = [("FROM", "x AS y"), ("RUN", "a  && b"), ("USER", "1:1")]
    found = module["instructions"](text)
    assert [(n, re.sub(" +", " ", a)) for n, a in found] == [
        (n, re.sub(" +", " ", a)) for n, a in expected
    ]
    with pytest.raises(SystemExit, match="HEALTHCHECK"):
        module["instructions"]("HEALTHCHECK NONE\n")


@pytest.fixture
def json_console(capsys):
    """A JSON console, and a function that gives what it wrote."""
    before = logging.root.handlers[:], logging.root.level
    console = JsonConsole("train")

    def lines() -> list[dict]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    yield console, lines
    logging.root.handlers[:], level = before
    logging.root.setLevel(level)


def test_json_lines_hold_messages_tables_errors_and_progress(json_console):
    console, lines = json_console
    with console.status("preprocess") as status:
        status.update("half")
        status.update("too soon to say again")
    table = Table(title="gates")
    table.add_column("gate")
    table.add_column("auc")
    table.add_row("[bold]auc[/]", "0.7")
    console.print(table)
    console.print("[bold red]error[/] no \\[file]")
    progress = JsonProgress(console)
    with progress as bar:
        bar.add_task("train", total=None)
        bar.update(0, completed=1, total=2, description="soon")
        bar.console.print("epoch 1")
    console.print_json(data={"nan": float("nan")})
    found = lines()
    assert [line["message"] for line in found] == [
        "preprocess",
        "half",
        "gates",
        "no [file]",
        "train",
        "epoch 1",
        "result",
    ]
    assert found[2]["columns"] == ["gate", "auc"] and found[2]["rows"] == [["auc", 0.7]]
    assert [line["level"] for line in found].count("error") == 1
    assert {line["command"] for line in found} == {"train"}
    assert found[-1]["result"] == {"nan": None}


def test_the_log_format_reaches_a_command(json_console, monkeypatch, tmp_path):
    _, lines = json_console
    monkeypatch.setattr(terminal, "console", terminal.console)
    monkeypatch.setattr(terminal, "errors", terminal.errors)
    with pytest.raises(SystemExit) as left:
        cli.main(["--log-format", "json", "inspect", str(tmp_path)])
    assert left.value.code == application.BAD_INPUT
    line, last = lines()
    assert line["level"] == "error" and "holds nothing that a command" in line["message"]
    assert last["status"] == application.BAD_INPUT and line["message"] in last["reasons"]
