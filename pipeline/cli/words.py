"""What the command line says of each result, in a few lines."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import singledispatch

from steadyrank.pipeline import api
from steadyrank.pipeline.cli import tables, terminal
from steadyrank.pipeline.cli.summary import summary
from steadyrank.pipeline.cli.terminal import say
from steadyrank.pipeline.files.publish import finite
from steadyrank.pipeline.gates.verdicts import PASS

FEW_DAYS = 4  # that are said by name


class Told(terminal.Shown):
    """Shows the stages of a run while they work, and says what each came to."""

    def ended(self, result: object) -> None:
        """Say it before the next one begins."""
        tell(result)


class Said(terminal.Shown):
    """Says each thing that is looked at."""

    def step(self, step: int, total: int, text: str) -> None:
        """Say it."""
        say(text)


def tell(result: object) -> None:
    """Say what a command, or a stage of one, came to."""
    summary.result = result
    say_of(result)


@singledispatch
def say_of(result: object) -> None:
    """The lines of each result."""
    raise NotImplementedError(type(result).__name__)


@say_of.register
def _(result: api.InitResult) -> None:
    for key, why in result.why.items():
        say(f"{key}: {why}")
    for name, (label, auc) in result.leaks.items():
        say(
            f"warning: {name} alone tells {label} with an AUC of {auc:.3f}: it is no "
            "feature, unless it is known before the engagement"
        )
    features, tasks = len(result.features), len(result.tasks)
    said = f"{counted(features, 'feature')}, {counted(tasks, 'task')}"
    say(f"{said}, in {result.output}")


@say_of.register
def _(result: api.SynthesizeResult) -> None:
    say(f"{counted(result.rows, 'row')} in {result.output}")


@say_of.register
def _(result: api.PreprocessResult) -> None:
    from steadyrank.pipeline.raw_log.rejected import explained  # with Arrow

    rejected, left_out = sum(result.rejected.values()), sum(result.left_out.values())
    parts = ", ".join(f"{split} {rows:,}" for split, rows in result.splits.items())
    found = "".join(f", {n:.1%} found by {name}" for name, n in result.found.items())
    drawn = result.manifest["rows"].get("drawn", 0)
    say(
        f"{counted(result.read, 'row')} read{f' + {drawn:,} drawn' if drawn else ''} = "
        f"{result.written:,} written ({parts}) + "
        f"{result.duplicates:,} duplicates + {rejected:,} rejected"
        f"{f' + {left_out:,} left out' if left_out else ''}{found}, in {result.output}"
    )
    for reason, count in result.rejected.items():
        example = explained(reason, result.manifest.get("samples", {}).get(reason))
        say(f"rejected: {reason}: {count:,}{example}")
    for name, count in result.manifest.get("infinite", {}).items():
        say(
            f"warning: feature {name} is infinite, or beyond float32, in {count:,} rows: "
            "it is taken as missing there"
        )
    kept = result.manifest.get("histories")  # a next-item set has a list of files
    late = kept.get("late", {}) if isinstance(kept, dict) else {}
    for window, count in late.items():
        say(
            f"warning: {counted(count, 'row')} of {window} came after it was added: no "
            "rows, and no events. Preprocess the whole log again to have them."
        )
    if found := result.manifest.get("negatives"):
        say(
            f"negatives of {found['task']}: drawn of {found['items']:,.1f} items on the "
            f"average, {found['rate']:.3g} of all; {found['had']:,} left out, as their "
            "users had them"
        )
    if ungrouped := result.manifest.get("ungrouped"):
        name = result.manifest["config"]["data"]["group"]
        say(
            f"warning: {counted(ungrouped, 'row')} without a {name} (data.group): each is "
            "a group of its own"
        )
    if 0 < result.manifest.get("taken_over", 0) == result.splits.get("train"):
        say(
            "warning: no new row trains: what was added is validation and test. Move "
            "data.split on by the days that shall train."
        )
    _say_of_files(result.manifest)
    _say_of_contract(result.manifest.get("contract"))
    for name in result.without_values:
        say(f"warning: feature {name} has no value in any training row")
    for name, found in (result.manifest.get("tasks") or {}).items():
        if not found["rows"]:
            say(f"warning: task {name} has no label in any row of its sample space")


@say_of.register
def _(result: api.ScoreResult) -> None:
    from steadyrank.pipeline.raw_log.rejected import explained  # with Arrow

    rejected = sum(result.rejected.values())
    best = f", of which {result.written:,} kept" if result.written < result.scored else ""
    say(
        f"{counted(result.rows, 'row')} read = {result.scored:,} scored + {rejected:,} "
        f"rejected{best}, by version {result.model_version}, in {result.output}"
    )
    for reason, count in result.rejected.items():
        say(f"rejected: {reason}: {count:,}{explained(reason, result.samples[reason])}")


def _say_of_files(manifest: Mapping) -> None:
    """What of the log was not read, or may be read otherwise than it was meant."""
    from steadyrank.pipeline.raw_log.absent import said_of
    from steadyrank.pipeline.raw_log.findings import mixed

    why = Counter(manifest.get("passed_over", {}).values())
    if why:
        said = ", ".join(f"{count} {reason}" for reason, count in why.items())
        say(f"passed over: {said} (manifest.json names the files)")
    for line in said_of(manifest.get("absent", {}), manifest.get("renamed", {})):
        say(line)
    for name in mixed(manifest.get("spellings", {})):
        say(
            f"warning: column {name} holds whole numbers both as 107 and as 107.0, and "
            "other texts: the two stay two values"
        )


def _say_of_contract(verdict: Mapping | None) -> None:
    """How the new days keep the data contract, if one held."""
    if not verdict or not verdict["days"]:
        return
    days, results = verdict["days"], verdict["results"]
    said = f"{len(results)} rules on {', '.join(days)}"
    say(f"data contract: {verdict['verdict']}, {said}")
    for found in results:
        if found["verdict"] != PASS:
            say(f"{found['verdict']}: {found['reason']}")


@say_of.register
def _(result: api.TrainResult) -> None:
    value = "was not defined" if result.best is None else f"{result.best:.4f}"
    if result.best_interval:
        low, high = result.best_interval
        value += f" (95 % interval {low:.4f} to {high:.4f})"
    say(
        f"{counted(result.steps, 'step')}, {counted(result.epochs, 'epoch')}, best "
        f"{result.monitor} {value} on validation, in {result.output}"
    )
    if result.summary.get("still_rising"):
        say(
            f"warning: {result.monitor} was highest at the last evaluation: training for "
            "longer, or at higher rates, may do better"
        )


@say_of.register
def _(result: api.ExportResult) -> None:
    say(f"SavedModel in {result.output}")


@say_of.register
def _(result: api.EvaluateResult) -> None:
    terminal.console.print(tables.metrics_table(result.metrics))
    if scored := tables.score_table(result.metrics):
        terminal.console.print(scored)
    terminal.console.print(tables.gates_table(result.gates))
    terminal.verdict(result.verdict)
    if result.forced is not None:
        say(f"forced: {result.forced}")
    say(f"report: {result.report}")


@say_of.register
def _(result: api.NightResult) -> None:
    """What it trained on, how it did beside the model it started from, and why."""
    night = result.record
    terminal.console.print(tables.night_table(night))
    base = night["base"] or "fresh weights"
    if night.get("fresh"):
        base = f"fresh weights, not those of {base}: {night['fresh']}"
    if night["trained_on"]:
        say(f"trained on {_days(night['trained_on'])}, from {base}")
    for day in night.get("missing", ()):
        say(f"warning: no files of {day}; it is passed over")
    for day in night.get("refused", ()):
        say(f"warning: the data contract refuses {day}; it is never trained on")
    for reason in night["reasons"]:
        say(f"{result.verdict}: {reason}")
    if night["left_out"]:
        because = night.get("left_out_because")
        why = f": {because}" if because else ""
        say(f"{night['left_out']} is left out of training from now on{why}")
    if result.version is not None:
        say(f"released as version {result.version}")
    terminal.verdict(result.verdict)
    if night["content"]:
        say(f"report: {result.report}")


def _days(windows: Sequence[str]) -> str:
    """Windows, by the days that they begin on: few by name, many by the first and last."""
    days = list(dict.fromkeys(window[: len("2026-11-28")] for window in windows))
    if len(days) <= FEW_DAYS:
        return ", ".join(days)
    return f"{len(days)} days, {days[0]} to {days[-1]}"


@say_of.register
def _(result: api.PruneResult) -> None:
    would = "would go" if result.dry_run else "went"
    if result.nights:
        say(f"night {', '.join(result.nights)}: all but the record {would}")
    if result.releases:
        say(f"version {', '.join(map(str, result.releases))} {would}")
    counts = f"{counted(len(result.nights), 'night')}, "
    counts += counted(len(result.releases), "release")
    say(f"{counts}: {result.bytes / 1e6:,.1f} MB")


def counted(number: int, what: str) -> str:
    """``1 night``, ``2 nights``."""
    return f"{number:,} {what}{'s' * (number != 1)}"


@say_of.register
def _(result: api.ReleaseResult) -> None:
    forced = "" if result.forced is None else f", forced: {result.forced}"
    say(f"version {result.version} ({result.verdict}{forced}) in {result.output}")


@say_of.register
def _(result: api.StabilityResult) -> None:
    from steadyrank.pipeline.studies.stability import cells  # with TensorFlow

    rows = [cells(row) for row in result.methods]
    terminal.console.print(tables.methods_table(result.rate_in_use, rows))
    say(result.advice)
    say(f"plot: {result.report}")


@say_of.register
def _(result: api.SweepResult) -> None:
    say(f"{result.objective}: {result.best_value:.5f}")
    say(result.verdict)
    say(f"settings: {result.best}, report: {result.report}")


@say_of.register
def _(result: api.ServeCheckResult) -> None:
    terminal.console.print(tables.latency_table(result))
    if not result.passed:
        say(f"scores differ from the encoded signature's by more than {result.limit}")


@say_of.register
def _(result: api.ImportanceResult) -> None:
    for task in result.tasks:
        terminal.console.print(tables.importance_table(result, task))
    say(f"{result.rows:,} of {result.of:,} rows of the {result.split} split")


@say_of.register
def _(result: api.CompareResult) -> None:
    for said, name in zip(result.verdicts, result.runs[1:], strict=True):
        say(said)
        found = result.differences[name]
        if found:
            first = result.runs[0]
            terminal.console.print(tables.differences_table(first, name, found))
    say(f"{len(result.runs)} runs in {result.output}")


@say_of.register
def _(result: api.ReplayResult) -> None:
    terminal.console.print_json(data=finite(result.diagnosis))


@say_of.register
def _(result: api.InspectResult) -> None:
    if result.nights:
        terminal.console.print(tables.nights_table(result.nights))
    for title, rows in result.parts.items():
        terminal.console.print(tables.part_table(title, rows))
