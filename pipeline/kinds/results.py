"""What the stages of a model of any kind come to, in the places that a user knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steadyrank.pipeline.files.places import Place
from steadyrank.pipeline.gates.verdicts import PASS


@dataclass(frozen=True)
class PreprocessResult:
    """What became of the rows of a log.

    Attributes:
        output: The example set.
        read: Rows of the log.
        written: Of these, in the examples.
        duplicates: Of these, left out because they were there before.
        rejected: Reason -> rows.
        left_out: Reason -> events that a next-item model has no use for.
        splits: Split -> rows.
        found: Column and side table -> share of the rows that it knows.
        without_values: Features that have no value in any training row.
        manifest: All that ``manifest.json`` holds.
    """

    output: Place
    read: int
    written: int
    duplicates: int
    rejected: Mapping[str, int]
    left_out: Mapping[str, int]
    splits: Mapping[str, int]
    found: Mapping[str, float]
    without_values: tuple[str, ...]
    manifest: Mapping[str, Any]

    @classmethod
    def of(cls, output: Place, manifest: Mapping[str, Any]) -> "PreprocessResult":
        """From what ``manifest.json`` holds."""
        rows, unmatched = manifest["rows"], manifest.get("unmatched", {})
        return cls(
            output=output,
            read=rows["read"],
            written=rows["written"],
            duplicates=rows["duplicates"],
            rejected=rows["rejected"],
            left_out=rows.get("dropped", {}),
            splits={split: n["rows"] for split, n in manifest["splits"].items()},
            found={name: 1 - n / manifest["joined"] for name, n in unmatched.items()},
            without_values=tuple(manifest.get("without_values", ())),
            manifest=manifest,
        )


@dataclass(frozen=True)
class TrainResult:
    """How a training ended.

    Attributes:
        output: The trained model.
        steps: Steps that were taken.
        epochs: Epochs that were seen.
        monitor: What chose the weights.
        best: Its value on the validation split; None: it was not defined.
        summary: All that ``train.json`` holds.
    """

    output: Place
    steps: int
    epochs: int
    monitor: str
    best: float | None
    summary: Mapping[str, Any]

    @classmethod
    def of(cls, output: Place, summary: Mapping[str, Any]) -> "TrainResult":
        """From what ``train.json`` holds."""
        return cls(
            output=output,
            steps=summary["steps"],
            epochs=summary["epochs"],
            monitor=summary["monitor"],
            best=summary["best"],
            summary=summary,
        )

    @property
    def best_interval(self) -> list[float] | None:
        """The 95 % interval of ``best``; None: it is not known."""
        return self.summary.get("best_interval")


@dataclass(frozen=True)
class ExportResult:
    """A SavedModel.

    Attributes:
        output: Its folder.
        version: Its number.
    """

    output: Place
    version: int


@dataclass(frozen=True)
class EvaluateResult:
    """How an export was judged.

    Attributes:
        output: The evaluation.
        verdict: ``"PASS"``, ``"HOLD"`` or ``"REFUSE"``.
        forced: Why the model may be released all the same; None: it was not forced.
        gates: Each gate's ``gate``, ``task``, ``rule``, ``verdict``, ``reason`` and more.
        metrics: What ``metrics.json`` holds: ``tasks`` by name, ``rows`` and more.
    """

    output: Place
    verdict: str
    forced: str | None
    gates: list[dict[str, Any]]
    metrics: Mapping[str, Any]

    @classmethod
    def of(cls, output: Place, found: Mapping[str, Any]) -> "EvaluateResult":
        """From what ``verdict.json`` holds, and ``metrics``."""
        return cls(
            output=output,
            verdict=found["verdict"],
            forced=found["forced"] and found["forced"]["reason"],
            gates=found["gates"],
            metrics=found["metrics"],
        )

    @property
    def accepted(self) -> bool:
        """Whether the model may be released: it passed, or was forced."""
        return self.verdict == PASS or self.forced is not None

    @property
    def report(self) -> Place:
        """The page that shows it all."""
        return self.output / "report.html"
