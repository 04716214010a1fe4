"""What a folder of any stage holds, in words."""

import difflib
from collections.abc import Callable
from pathlib import Path

from steadyrank.pipeline.api import describe_stores
from steadyrank.pipeline.evaluate.release import BLESSED
from steadyrank.pipeline.examples.example_set import SEQUENCES, ExampleSet
from steadyrank.pipeline.export.card import CARD, EXTRA, find_version, versions_of
from steadyrank.pipeline.files.documents import require
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.files.shapes import (
    Card,
    Margin,
    RankingSchema,
    SequenceSchemaFields,
    Trained,
    Verdict,
)
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSet
from steadyrank.pipeline.kinds.protocol import NEXT_ITEM
from steadyrank.pipeline.store.records import NIGHTS, RECORD
from steadyrank.pipeline.train.log import LOG_FILE, read_lines

Rows = list[tuple[str, object]]


STAGES = ("examples", "train", "train.partial", "export", "evaluation")  # of a run


def describe(path: Path) -> dict[str, Rows]:
    """Describe any folder that a command writes.

    Args:
        path: The folder.

    Returns:
        Title -> rows of name and value.

    Raises:
        InputError: The folder is missing, is none of these, or is not whole.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such folder.{_nearest(path)}")
    if not path.is_dir():
        raise InputError(f"{path} is a file. Name the folder that it stands in.")
    for marker, described in OF_MARKER.items():
        if (path / marker).exists():
            inside = _stages(path) if marker == RECORD else {}
            return {**described(path), **inside}
    if (path / "saved_model.pb").exists() or versions_of(path):
        return _export(find_version(path))
    if found := _stages(path):
        return found
    raise InputError(
        f"{path} holds nothing that a command wrote: no examples, training, export, "
        "evaluation, run, store of nights, release folder, scores, sweep, stability study "
        "or synthetic log. Name a folder that one wrote."
    )


def _nearest(path: Path) -> str:
    """The name beside a missing one that was probably meant."""
    beside = path.parent
    names = [p.name for p in beside.iterdir() if p.is_dir()] if beside.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean {beside / close[0]}?" if close else ""


def _stages(path: Path) -> dict[str, Rows]:
    """The stages of a run, or of a night, that are there."""
    found = [path / name for name in STAGES if (path / name).exists()]
    found = [p for p in found if p.suffix != ".partial" or (p / LOG_FILE).exists()]
    return {title: rows for stage in found for title, rows in describe(stage).items()}


def _partial(path: Path) -> dict[str, Rows]:
    """A training that has not ended, or that diverged."""
    lines = [line for line in read_lines(path / LOG_FILE) if "step" in line]
    rows: Rows = [("state", "not ended: `train --resume` goes on with it")]
    if lines:
        last = lines[-1]
        rows += [("steps", last["step"]), ("epoch", last.get("epoch", 0) + 1)]
    diagnoses = sorted(each.name for each in path.glob("divergence-*.json"))
    rows += [("diverged", ", ".join(diagnoses))] if diagnoses else []
    return {f"interrupted training {path}": rows}


def _scores(path: Path) -> dict[str, Rows]:
    found = read_json(path / "scores.json", "scores")
    plain = [(n, v) for n, v in found.items() if not isinstance(v, dict | list)]
    rejected = (found.get("rejected") or {}).items()
    return {f"scores {path}": plain + [(f"rejected: {why}", n) for why, n in rejected]}


def _sweep(path: Path) -> dict[str, Rows]:
    if not (path / "results.json").exists():
        said = "not ended: `sweep --resume` goes on with it"
        return {f"sweep {path}": [("state", said)]}
    found = read_json(path / "results.json", "a sweep")
    names = ("objective", "best_value", "own_value", "verdict")
    rows: Rows = [(name.replace("_", " "), _rounded(found.get(name))) for name in names]
    rows.append(("trials", len(found.get("trials") or [])))
    return {f"sweep {path}": rows}


def _stability(path: Path) -> dict[str, Rows]:
    found = read_json(path / "stability.json", "a stability study", Margin)
    rows: Rows = [("rate in use", found.get("rate_in_use")), ("margin", found["margin"])]
    return {f"stability study {path}": [*rows, ("advice", found.get("advice"))]}


def _synthetic(path: Path) -> dict[str, Rows]:
    import pyarrow.parquet as pq  # for this alone

    tables = ("log", "users", "items", "truth")
    files = [path / f"{name}.parquet" for name in tables]
    counted = [(f.stem, pq.read_metadata(f).num_rows) for f in files if f.exists()]
    return {f"synthetic log {path}": [(name, f"{n:,} rows") for name, n in counted]}


def _examples(path: Path) -> dict[str, Rows]:
    found = read_json(path / "schema.json", "an example set").get("format")
    if str(found).startswith(SEQUENCES):
        return _sequences(path)
    examples = ExampleSet.open(path)
    rows: Rows = [("fingerprint", examples.schema.fingerprint)]
    counts = examples.manifest["rows"]
    rows += [(f"rows {name}", counts[name]) for name in ("read", "written", "duplicates")]
    rows += [("negatives drawn", counts["drawn"])] if counts.get("drawn") else []
    rows += [(f"rejected: {why}", n) for why, n in counts["rejected"].items()]
    unmatched = examples.manifest.get("unmatched", {})
    rows += [(f"not found by {name}", n) for name, n in unmatched.items()]
    for split, found in examples.manifest["splits"].items():
        windows = list(found["windows"])
        rows.append((split, f"{found['rows']} rows, {windows[0]} to {windows[-1]}"))
    for task, n in examples.manifest["tasks"].items():
        text = f"{n['rows']:,} rows of its sample space, {n['positives']:,} above 0"
        if n["given_violations"]:
            text += f"; {n['given_violations']} set outside of it"
        rows.append((f"task {task}", text))
    for feature in examples.schema.features:
        known = f", {feature.vocabulary_size} values" if feature.vocabulary_size else ""
        rows.append((f"feature {feature.name}", f"{feature.kind}, {feature.raw}{known}"))
    return {f"example set {path}": rows}


def _sequences(path: Path) -> dict[str, Rows]:
    examples = SequenceSet.open(path)
    schema, counts = examples.schema, examples.manifest["rows"]
    rows: Rows = [("fingerprint", schema.fingerprint), ("known items", schema.items)]
    rows += [(f"events {name}", counts[name]) for name in ("read", "written", "duplicates")]
    rows += [
        (f"{why}", n) for kind in ("rejected", "dropped") for why, n in counts[kind].items()
    ]
    for split, found in examples.manifest["splits"].items():
        windows = list(found["windows"])
        text = f"{found['sequences']} sequences, {found['rows']} events"
        rows.append((split, f"{text}, {windows[0]} to {windows[-1]}"))
    return {f"set of sequences {path}": rows}


def _trained(path: Path) -> dict[str, Rows]:
    summary = read_json(path / "train.json", "a trained model", Trained)
    rows: Rows = [
        (n, _rounded(v)) for n, v in summary.items() if not isinstance(v, dict | list)
    ]
    if interval := summary.get("best_interval"):
        rows.append(("best, 95 % interval", " to ".join(map(str, map(_rounded, interval)))))
    counts = (summary.get("parameters") or {}).items()
    rows.append(("parameters", ", ".join(f"{name} {n:,}" for name, n in counts)))
    divergence = summary.get("divergence") or {}
    micro = len(divergence.get("micro") or [])
    said = f"{divergence.get('steps', 0):,} steps judged, {micro} micro-divergences"
    rows.append(("divergence", "diverged" if divergence.get("diverged") else said))
    for task, found_of in (summary.get("validation") or {}).items():
        rows.append((f"validation {task}", _figures(found_of)))
    return {f"trained model {path}": rows}


def _figures(found: dict) -> str:
    """The numbers of a task in a line; what scatters stands in the report."""
    numbers = ((n, v) for n, v in found.items() if isinstance(v, int | float))
    return ", ".join(f"{name} {_rounded(value)}" for name, value in numbers)


def _rounded(value):
    return f"{value:.4f}" if isinstance(value, float) else value


def _export(path: Path) -> dict[str, Rows]:
    card = read_json(path / EXTRA / CARD, "an export", Card)
    schema = card["schema"]
    rows: Rows = [("fingerprint", schema.get("fingerprint"))]
    if card.get("kind") == NEXT_ITEM:
        require(schema, SequenceSchemaFields, path / EXTRA / CARD)
        rows += [("model", card["kind"]), ("known items", schema["items"])]
    else:
        require(schema, RankingSchema, path / EXTRA / CARD)
        rows += [("score", schema["score"])]
        rows += [(f"input {f['name']}", _input(f)) for f in schema["features"]]
        rows += [(f"output {t['name']}", t["kind"]) for t in schema["tasks"]]
    rows += list(card["training"]["versions"].items())
    return {f"export {path}": rows}


def _input(feature: dict) -> str:
    if feature["separator"]:
        return f"string, split at {feature['separator']!r}"
    if feature.get("width"):
        return f"{feature['width']} floats"
    if feature.get("of"):
        return f"none of its own: of {' and '.join(feature['of'])}"
    if feature.get("moments"):
        return f"integer, milliseconds since 1970 in UTC ({feature['kind']})"
    return feature["raw"] + (", several" if feature["max_values"] else "")


def _evaluation(path: Path) -> dict[str, Rows]:
    verdict = read_json(path / "verdict.json", "an evaluation", Verdict)
    rows: Rows = [("verdict", verdict["verdict"])]
    for gate in verdict["gates"]:
        name = " ".join(filter(None, (gate["gate"], gate["task"], gate["rule"])))
        rows.append((name, f"{gate['verdict']}: {gate['reason']}"))
    if verdict.get("forced"):
        rows.append(("forced", verdict["forced"]["reason"]))
    return {f"evaluation {path}": rows}


OF_MARKER: dict[str, Callable[[Path], dict[str, Rows]]] = {
    "manifest.json": _examples,
    "train.json": _trained,
    "scores.json": _scores,
    "stability.json": _stability,
    "sweep.json": _sweep,
    "truth.parquet": _synthetic,
    "verdict.json": _evaluation,
    RECORD: describe_stores.night,
    BLESSED: describe_stores.served,
    NIGHTS: describe_stores.store,
    "log.jsonl": _partial,
}
