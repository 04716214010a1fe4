"""Every JSON file of ours, damaged in every way, before every command that reads it."""

import json
import shutil

import pytest
import yaml

from steadyrank.pipeline import api
from steadyrank.pipeline.evaluate.release import release
from tests.helpers import tiny
from tests.helpers.command_line import in_this_process

GATES = {"auc": {"click": {"min": 0.0}}}


def _with_nan(content: bytes) -> bytes:
    document, numbers = json.loads(content), []

    def walk(node, place, key):
        if isinstance(node, dict | list):
            pairs = node.items() if isinstance(node, dict) else enumerate(node)
            for name, inner in list(pairs):
                walk(inner, node, name)
        elif isinstance(node, int | float) and not isinstance(node, bool):
            numbers.append((place, key))

    walk(document, None, None)
    for place, key in numbers:
        place[key] = float("nan")
    return json.dumps(document if numbers else float("nan")).encode()


DAMAGE = {
    "[]": lambda _: b"[]",
    "{}": lambda _: b"{}",
    "null": lambda _: b"null",
    "text": lambda _: b'"x"',
    "number": lambda _: b"3",
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "NaN": _with_nan,
    "infinite": lambda content: _with_nan(content).replace(b"NaN", b"1e999"),
    "nested": lambda _: b"[" * 100_000,
    "noise": lambda _: b"\xff\x00\x80",
}
FEW = ("[]", "cut")  # before commands that take long to get there


@pytest.fixture(scope="module")
def scene(config, examples, trained, exported, log_folder, tmp_path_factory):
    """All that commands read, in one place."""
    root = tmp_path_factory.mktemp("scene")
    document = tiny.config_document(**tiny.LONG_ENOUGH, gates=GATES)
    (root / "c.yaml").write_text(yaml.safe_dump(document))
    del document["gates"]
    (root / "t.yaml").write_text(yaml.safe_dump(document))
    split = {"validation": 0.3, "test": tiny.DATES[-1]}
    nightly = tiny.config_document(gates=GATES, data__split=split)
    (root / "n.yaml").write_text(yaml.safe_dump(nightly))
    later = {"validation": "2024-03-06", "test": "2024-03-07"}
    document["data"]["split"] = later
    (root / "later.yaml").write_text(yaml.safe_dump(document))
    shutil.copytree(log_folder, root / "log")
    shutil.copytree(examples, root / "run/examples")
    shutil.copytree(trained, root / "run/train")
    shutil.copytree(exported, root / "run/export/1")
    run = root / "run"
    folders = {"examples": run / "examples", "model": run / "export"}
    api.evaluate(root / "c.yaml", **folders, output=run / "evaluation")
    shutil.copytree(run, root / "other")
    for _ in range(2):
        release(root / "run/export", root / "run/evaluation", root / "store/served")
    night = {"verdict": "HOLD", "content": None, "left_out": None, "reasons": []}
    (root / "store/nights/2024-03-05").mkdir(parents=True)
    (root / "store/nights/2024-03-05/night.json").write_text(json.dumps(night))
    margin = {"fingerprint": "f", "margin": 2.0, "settings": {}, "probes": [{"steps": 3}]}
    (root / "stability").mkdir()
    (root / "stability/stability.json").write_text(json.dumps(margin))
    interrupted = root / "interrupted.partial"
    shutil.copytree(root / "run/train", interrupted)
    (interrupted / "train.json").unlink()
    (interrupted / "rollbacks.json").write_text('{"rollbacks": []}')
    return root


ON, JUDGE = "--examples run/examples", "--examples run/examples --model run/export"
COMMANDS = {
    "inspect examples": "inspect run/examples",
    "inspect run": "inspect run",
    "inspect train": "inspect run/train",
    "inspect export": "inspect run/export",
    "inspect evaluation": "inspect run/evaluation",
    "train": f"train --config c.yaml {ON} --output out",
    "more": f"train --config t.yaml --set train.epochs=9 {ON} --output run/train --resume",
    "resume": f"train --config t.yaml {ON} --output interrupted --resume",
    "export": "export --config c.yaml --train run/train --output out",
    "evaluate": f"evaluate --config c.yaml {JUDGE} --output out",
    "beside": f"evaluate --config c.yaml {JUDGE} --output out --baseline store/served",
    "margin": f"evaluate --config c.yaml {JUDGE} --output out --stability stability",
    "run": "run --config c.yaml --data log --output run --resume",
    "check": "check --config c.yaml --data log --baseline store/served",
    "release": "release --model run/export --evaluation run/evaluation --to out",
    "again": "release --model run/export --evaluation run/evaluation --to store/served",
    "rollback": "release --to store/served --rollback",
    "serve-check": f"serve-check {JUDGE}",
    "compare": "compare run other --output out",
    "replay": f"replay --config c.yaml {ON} --train run/train --epoch 0 --batch 0",
    "append": "preprocess --config later.yaml --data log --output run/examples --append",
    "stability": f"stability --config c.yaml {ON} --output out --steps 1",
    "nightly": "nightly --config n.yaml --data log --store store --day 2024-03-06",
}
WITH_EXAMPLES = ["inspect examples", "train", "evaluate", "run", "serve-check", "replay"]
WITH_EXAMPLES += ["append", "stability"]
READ = {
    "run/examples/manifest.json": [*WITH_EXAMPLES, "inspect run", "more", "resume"],
    "run/examples/schema.json": WITH_EXAMPLES,
    "run/examples/statistics.json": ["append"],
    "run/train/train.json": ["inspect train", "inspect run", "export"],
    "run/train/schema.json": ["export", "replay"],
    "run/train/examples.json": ["export"],
    "run/train/log.jsonl": ["compare"],
    "run/export/1/assets.extra/card.json": [
        "inspect export",
        "inspect run",
        "evaluate",
        "serve-check",
        "run",
    ],
    "run/export/1/assets.extra/log.jsonl": ["evaluate"],
    "run/evaluation/metrics.json": ["release", "compare"],
    "run/evaluation/verdict.json": ["inspect evaluation", "release", "compare"],
    "store/served/2/assets.extra/card.json": ["beside", "check"],
    "store/served/blessed.json": ["again", "rollback", "nightly"],
    "store/nights/2024-03-05/night.json": ["nightly"],
    "stability/stability.json": ["margin"],
    "interrupted.partial/schema.json": ["resume"],
    "interrupted.partial/rollbacks.json": ["resume"],
}
LATE = [
    ("run/export/1/assets.extra/log.jsonl", "evaluate"),
    ("store/served/2/assets.extra/card.json", "beside"),
    ("interrupted.partial/rollbacks.json", "resume"),
]
CASES = [(file, command) for file, commands in READ.items() for command in commands]


def _held(scene) -> set:
    """All that stands there but for locks, which stay."""
    return {path for path in scene.rglob("*") if not path.name.endswith("lock")}


def _damaged(whole: bytes, damage: str, of_lines: bool) -> bytes:
    """A document, or the first line of several."""
    if not of_lines:
        return DAMAGE[damage](whole)
    if damage == "cut":
        return whole[: len(whole) // 2]
    line, rest = whole.split(b"\n", 1)
    return DAMAGE[damage](line) + b"\n" + rest


@pytest.mark.parametrize(("file", "command"), CASES)
def test_it_is_one_line_that_names_the_file(scene, monkeypatch, capsys, file, command):
    monkeypatch.chdir(scene)
    path, found = scene / file, {}
    whole, before = path.read_bytes(), _held(scene)
    for damage in FEW if (file, command) in LATE else DAMAGE:
        path.write_bytes(_damaged(whole, damage, file.endswith(".jsonl")))
        capsys.readouterr()
        status = in_this_process(*COMMANDS[command].split())
        lines = capsys.readouterr().err.strip().splitlines()
        path.write_bytes(whole)
        changed = _held(scene) ^ before
        if status != 2 or len(lines) != 1 or path.name not in lines[0] or changed:
            found[damage] = status, lines[-4:], changed
    assert not found


@pytest.mark.parametrize(("file", "command"), [cases for cases in CASES[::7]])
def test_a_folder_in_its_place_is_named(scene, monkeypatch, capsys, file, command):
    monkeypatch.chdir(scene)
    path = scene / file
    whole = path.read_bytes()
    path.unlink()
    path.mkdir()
    status = in_this_process(*COMMANDS[command].split())
    path.rmdir()
    path.write_bytes(whole)
    assert status == 2 and path.name in capsys.readouterr().err
