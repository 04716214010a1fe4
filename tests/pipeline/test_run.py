"""The stages of a run in a user's places: what each comes to, and what a caller sees."""

import inspect
import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from steadyrank.pipeline import run as stages
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.evaluate.baseline import require_baseline
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.lock import alone
from steadyrank.pipeline.kinds.results import (
    EvaluateResult,
    ExportResult,
    PreprocessResult,
    TrainResult,
)
from tests.helpers import tiny


def config_with(least_auc: float):
    document = tiny.config_document(**tiny.LONG_ENOUGH)
    document["model"] = {"trunk": "lr"}  # compiles fast
    document["gates"] = {"auc": {"click": {"min": least_auc}}}
    document["gates"]["divergence"] = {"max_micro": 100}
    return parse_config(document, "tiny")


CONFIG, STRICT = config_with(0.0), config_with(0.999)


class Seen(stages.Progress):
    """Notes all that it is told."""

    def __init__(self):
        self.events, self.steps = [], []

    @contextmanager
    def stage(self, name):
        self.events.append(f"{name} begins")
        try:
            yield
        finally:
            self.events.append(f"{name} ends")

    def step(self, step, total, text):
        self.steps.append((step, total))

    def ended(self, result):
        self.events.append(type(result).__name__)


@pytest.fixture(scope="module")
def done(log_folder, tmp_path_factory):
    """A run, what it came to, and what was seen of it."""
    seen, output = Seen(), tmp_path_factory.mktemp("run") / "run"
    result = stages.run(CONFIG, output, folder=log_folder, progress=seen)
    return output, result, seen


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_run_comes_to_what_its_files_say(done, log_folder):
    output, result, _ = done
    manifest = read(output / "examples/manifest.json")
    users = {user["user"] for user in tiny.make_users()}
    unknown = sum(row["user"] not in users for row in tiny.make_rows())
    assert result.preprocess == PreprocessResult(
        output=output / "examples",
        read=600,
        written=600,
        duplicates=0,
        rejected={},
        left_out={},
        splits={"train": 400, "validation": 100, "test": 100},
        found={f"user: {log_folder / 'users.parquet'}": 1 - unknown / 600},
        without_values=(),
        manifest=manifest,
    )
    summary = read(output / "train/train.json")
    assert result.train.summary == summary and result.train.output == output / "train"
    # three times 400 rows, 64 a step
    assert (result.train.steps, result.train.epochs) == (21, 3)
    assert (result.train.monitor, result.train.best) == ("mean_auc", summary["best"])
    assert result.export == ExportResult(output / "export/1", 1)
    assert (result.export.output / "saved_model.pb").is_file()
    verdict = read(output / "evaluation/verdict.json")
    assert result.verdict == result.evaluate.verdict == verdict["verdict"] == "PASS"
    assert result.evaluate.gates == verdict["gates"] and result.evaluate.forced is None
    assert result.evaluate.accepted
    metrics = read(output / "evaluation/metrics.json")
    assert result.metrics["tasks"]["click"]["auc"] == metrics["tasks"]["click"]["auc"]
    assert result.report == output / "evaluation/report.html" and result.report.is_file()


def test_a_caller_sees_each_stage_begin_get_on_and_end(done):
    _, _, seen = done
    assert seen.events == [
        "preprocess begins",
        "preprocess ends",
        "PreprocessResult",
        "train begins",
        "train ends",
        "TrainResult",
        "export begins",
        "export ends",
        "ExportResult",
        "evaluate begins",
        "evaluate ends",
        "EvaluateResult",
    ]
    assert (21, 21) in seen.steps


def test_a_resumed_run_says_what_it_kept(done, log_folder):
    output, first, _ = done
    seen = Seen()
    result = stages.run(STRICT, output, folder=log_folder, resume=True, progress=seen)
    assert seen.events == ["evaluate begins", "evaluate ends", "EvaluateResult"]
    assert result.preprocess is None and result.train is None
    assert result.export == first.export
    assert result.verdict == "REFUSE" and not result.evaluate.accepted


def test_a_verdict_is_forced_with_a_reason_and_stays_what_it_is(done, tmp_path):
    output, _, _ = done
    places = output / "examples", output / "export", tmp_path / "evaluation"
    forced = stages.evaluate(STRICT, *places, force="a trial")
    assert (forced.verdict, forced.forced, forced.accepted) == ("REFUSE", "a trial", True)
    held = EvaluateResult(tmp_path, "HOLD", None, [], {})
    assert not held.accepted


def test_a_stage_that_fails_ends_too(done, tmp_path):
    output, _, _ = done
    seen = Seen()
    with pytest.raises(InputError, match="neither an export nor a folder of exports"):
        stages.evaluate(
            CONFIG, output / "examples", tmp_path, tmp_path / "e", progress=seen
        )
    assert seen.events == ["evaluate begins", "evaluate ends"]


def test_a_run_keeps_or_replaces_and_not_both(log_folder, tmp_path):
    told = {"folder": log_folder, "resume": True, "overwrite": True}
    with pytest.raises(InputError, match="--resume keeps .* choose one"):
        stages.run(CONFIG, tmp_path / "run", **told)
    assert not list(tmp_path.iterdir())


def test_what_is_added_is_counted_with_what_was_there(log, tmp_path):
    """On the sixty rows of each of six days, the day before the last one tests."""
    output = tmp_path / "examples"
    for day, append in ((tiny.DATES[4], False), (tiny.DATES[5], True)):
        config = tiny.config_on(day)
        result = stages.preprocess(config, output, folder=log, append=append)
    assert result.splits["train"] == 300
    assert result.splits["validation"] + result.splits["test"] == 60
    manifest = read(output / "manifest.json")
    assert result.read == manifest["rows"]["read"] and manifest["taken_over"] > 0


def test_what_a_manifest_may_lack_is_nothing():
    """Of a next-item model, which joins nothing and leaves events out."""
    rows = {"read": 9, "written": 4, "duplicates": 1, "rejected": {"no time": 1}}
    manifest = {"rows": {**rows, "dropped": {"too short": 3}}, "splits": {}}
    result = PreprocessResult.of(Path("x"), manifest)
    assert (result.read, result.written, result.duplicates) == (9, 4, 1)
    assert result.rejected == {"no time": 1} and result.left_out == {"too short": 3}
    assert result.found == {} and result.without_values == ()
    summary = {"steps": 3, "epochs": 1, "monitor": "mrr@5", "best": None, "more": 1}
    trained = TrainResult.of(Path("x"), summary)
    assert (trained.steps, trained.epochs, trained.best) == (3, 1, None)
    assert trained.monitor == "mrr@5" and trained.summary is summary


class Calls:
    """In place of the stages: what a run asks of each."""

    def __init__(self, monkeypatch):
        self.asked = {}
        results = {
            "preprocess": PreprocessResult(Path("e"), 1, 1, 0, {}, {}, {}, {}, (), {}),
            "train": TrainResult(Path("t"), 1, 1, "mean_auc", 0.5, {}),
            "export": ExportResult(Path("x/1"), 1),
            "evaluate": EvaluateResult(Path("v"), "PASS", None, [], {}),
        }
        for name, result in results.items():
            take = self.taking(name, result, getattr(stages, name))
            monkeypatch.setattr(stages, name, take)

    def taking(self, name, result, function):
        signature = inspect.signature(function)

        def take(*arguments, **named):
            bound = signature.bind(*arguments, **named)
            bound.apply_defaults()
            self.asked[name] = bound.arguments
            return result

        return take

    def __getattr__(self, name):
        return self.asked[name]


@pytest.fixture
def calls(monkeypatch):
    return Calls(monkeypatch)


def test_each_stage_reads_what_the_one_before_wrote(calls, tmp_path, monkeypatch):
    """The examples keep what a baseline reads; it is looked at before anything trains."""
    run, quiet = tmp_path / "run", stages.Progress()
    baseline, flags = Path("b"), ("--x",)
    module = "steadyrank.pipeline.evaluate.baseline"
    monkeypatch.setattr(f"{module}.keep_for", lambda config, path: (config, path))
    monkeypatch.setattr(stages, "require_baseline_fits", lambda config, path: [])
    look = calls.taking("look", None, require_baseline)
    monkeypatch.setattr(f"{module}.require_baseline", look)
    monkeypatch.setattr(ExampleSet, "open", lambda path: path)
    told = {"folder": Path("log"), "baseline": baseline, "beam_flags": flags}
    stages.run(CONFIG, run, **told, progress=quiet)
    assert list(calls.asked) == ["preprocess", "look", "train", "export", "evaluate"]
    looked = {"baseline": baseline, "examples": run / "examples", "split": "test"}
    assert calls.look == looked
    common = {"config": CONFIG, "progress": quiet}
    assert calls.preprocess == {
        "config": (CONFIG, baseline),
        "progress": quiet,
        "output": run / "examples",
        "folder": Path("log"),
        "overwrite": False,
        "append": False,
        "beam_flags": flags,
    }
    assert calls.train == {
        **common,
        "examples": run / "examples",
        "output": run / "train",
        "resume": False,
        "overwrite": False,
    }
    places = {"trained": run / "train", "output": run / "export"}
    assert calls.export == {**common, **places}
    assert calls.evaluate == {
        **common,
        "examples": run / "examples",
        "model": run / "export",
        "output": run / "evaluation",
        "baseline": baseline,
        "stability": None,
        "split": "test",
        "force": None,
        "predictions": False,
        "overwrite": False,
    }


def test_a_training_that_stopped_halfway_goes_on(calls, tmp_path):
    """And what it was to be judged by is judged again."""
    stages.run(CONFIG, tmp_path / "run", folder=Path("log"), resume=True)
    assert not calls.train["resume"] and calls.evaluate["overwrite"]
    (tmp_path / "run" / "train.partial").mkdir(parents=True)
    stages.run(CONFIG, tmp_path / "run", folder=Path("log"), resume=True)
    assert calls.train["resume"] and not calls.train["overwrite"]


def test_a_run_that_is_replaced_leaves_nothing_of_the_one_before(calls, tmp_path):
    for name in stages.MADE_FROM_EXAMPLES:
        (tmp_path / "run" / name / "some").mkdir(parents=True)
    markers = ("train/train.json", "export/some/saved_model.pb", "evaluation/verdict.json")
    for marker in markers:
        (tmp_path / "run" / marker).touch()
    (tmp_path / "run" / "notes").mkdir()
    stages.run(CONFIG, tmp_path / "run", folder=Path("log"), overwrite=True)
    assert [path.name for path in (tmp_path / "run").glob("[!.]*")] == ["notes"]
    for asked in (calls.preprocess, calls.train, calls.evaluate):
        assert asked["overwrite"]
    assert not calls.train["resume"]


def test_one_run_at_a_time_writes_to_a_place(calls, tmp_path):
    with alone(tmp_path / "run"), pytest.raises(PassingError, match="run is in use by"):
        stages.run(CONFIG, tmp_path / "run", folder=Path("log"))
    assert not calls.asked


ASKED = {
    "preprocess": {"beam_flags": ("--x",), "overwrite": True},
    "train": {"resume": True, "overwrite": True},
    "export": {},
    "evaluate": {
        "split": "validation",
        "force": "so",
        "overwrite": True,
        "predictions": True,
    },
}
ANSWERS = {
    "preprocess": {"rows": {"read": 1, "written": 1, "duplicates": 0, "rejected": {}},
                   "splits": {}},
    "train": {"steps": 1, "epochs": 1, "monitor": "mean_auc", "best": 0.5},
    "export": Path("out/3"),
    "evaluate": {"verdict": "PASS", "forced": None, "gates": [], "metrics": {}},
}  # fmt: skip
PLACES = {
    "preprocess": ["out"],
    "train": ["examples", "out"],
    "export": ["trained", "out"],
    "evaluate": ["examples", "model", "out"],
}
MORE = {
    "preprocess": {"folder": Path("log")},
    "evaluate": {"baseline": Path("base"), "stability": Path("edge")},
}


@pytest.fixture
def asked(monkeypatch):
    """What the function that a stage is gets."""
    taken = {}

    def stage_of(config, name):
        def stage(*arguments, **named):
            taken[name] = [*map(str, arguments[1:])], named
            return ANSWERS[name]

        return stage

    monkeypatch.setattr(stages, "stage_of", stage_of)
    return taken


@pytest.mark.parametrize("name", ASKED)
def test_a_stage_gets_all_that_it_is_asked(name, asked):
    places, more = [Path(place) for place in PLACES[name]], MORE.get(name, {})
    result = getattr(stages, name)(CONFIG, *places, **ASKED[name], **more)
    found, named = asked[name]
    assert found == ["log", "out"] if name == "preprocess" else found == PLACES[name]
    assert named == {**named, **ASKED[name]}
    if name == "evaluate":
        wanted = {"baseline_path": Path("base"), "stability_path": Path("edge")}
        assert callable(named.pop("progress"))
        assert named == {**ASKED[name], **wanted}
    assert result.output == (Path("out/3") if name == "export" else Path("out"))


@pytest.mark.parametrize("place", ["examples", "model", "baseline", "stability"])
def test_an_evaluation_takes_the_place_of_nothing_it_reads(place, asked, tmp_path):
    told = {name: tmp_path / name for name in ("baseline", "stability")}
    told |= {"examples": tmp_path / "examples", "model": tmp_path / "model"}
    with pytest.raises(InputError, match=f"take the place of an input, .*{place}"):
        stages.evaluate(CONFIG, output=told[place], **told)
    assert not asked


@pytest.mark.parametrize("name", ["preprocess", "train", "export", "evaluate", "run"])
def test_few_arguments_go_by_place(name):
    parameters = inspect.signature(getattr(stages, name)).parameters.values()
    assert sum(p.kind is not p.KEYWORD_ONLY for p in parameters) <= 4
