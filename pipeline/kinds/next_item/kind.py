"""The kind of next-item models."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from steadyrank.pipeline.config import load_any_config
from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.export.card import read_card
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSchema, SequenceSet
from steadyrank.pipeline.kinds.next_item.gates import (
    blame,
    judge_sequences,
    without_baseline,
)
from steadyrank.pipeline.kinds.next_item.report import sections
from steadyrank.pipeline.kinds.protocol import NEXT_ITEM, Kind, Phase, Setting


class NextItem(Kind):
    """See ``kinds.protocol.Kind``."""

    name = NEXT_ITEM

    def preprocess(
        self,
        config: SequenceConfig,
        folder: Path,
        output: Path,
        beam_flags: Iterable[str] = (),
        **how,
    ) -> dict:
        """See ``kinds.next_item.preprocess``."""
        from steadyrank.pipeline.kinds.next_item.preprocess import preprocess  # and Beam

        return preprocess(config, folder, output, beam_flags, **how)

    def open_examples(self, path: Path) -> SequenceSet:
        """A whole set of sequences."""
        return SequenceSet.open(path)

    def read_schema(self, document: dict, source: Path) -> SequenceSchema:
        """See ``SequenceSchema.from_dict``."""
        return SequenceSchema.from_dict(document, source)

    def agree(self, config: SequenceConfig, schema: SequenceSchema) -> SequenceSchema:
        """The sequences' own; they must be as long as the config says."""
        length = config.data.sequences.length
        if length != schema.length:
            raise InputError(
                f"data.sequences.length is {length} in the config, but the sequences were "
                f"made with {schema.length}. Preprocess the log with this config."
            )
        return schema

    def tasks(self, config: SequenceConfig) -> dict[str, str]:
        """The one there is, which is of a kind of its own."""
        return {NEXT_ITEM: NEXT_ITEM}

    def monitor(self, config: SequenceConfig) -> str:
        """As the config says."""
        return config.train.monitor

    def main_metrics(self, config: SequenceConfig) -> dict[str, str]:
        """What chose the weights."""
        return {NEXT_ITEM: config.train.monitor}

    def monitored(self, results: Mapping, monitor: str) -> float:
        """The metric of that name."""
        return results[NEXT_ITEM][monitor]

    def phases(self, setting: Setting) -> list[Phase]:
        """Those of the config, each in a folder of its own; the last one alone, where the
        run starts from the weights of another, which is as deep."""
        from steadyrank.pipeline.train.warm_start import WarmStart  # brings TensorFlow

        settings = setting.config.train
        first = len(settings.phases) - 1 if WarmStart.read(setting.work) else 0
        return [
            Phase(
                setting.work / "phases" / str(number),
                phase.epochs,
                phase.steps,
                phase.patience,
                evaluate_every=settings.evaluate_every,
                number=number,
                title=f"phase {number + 1} of {len(settings.phases)}, {phase.blocks} "
                "blocks: ",
                judges_start=True,
            )
            for number, phase in enumerate(settings.phases)
            if number >= first
        ]

    def learner(self, setting: Setting, phase: Phase, backoff):
        """A ``NextItemLearner``."""
        from steadyrank.pipeline.kinds.next_item.learner import NextItemLearner

        return NextItemLearner(setting, phase, backoff)

    def serving_module(self, config: SequenceConfig, schema: SequenceSchema, trained: Path):
        """A ``NextItemModule`` of the last phase."""
        from steadyrank.pipeline.kinds.next_item.model import best_model
        from steadyrank.pipeline.kinds.next_item.serving import NextItemModule

        return NextItemModule(
            best_model(config, schema, trained),
            schema,
            trained / "vocab",
            k=config.serving.k,
            exclude_seen=config.serving.exclude_seen,
        )

    def warmup(self, module, vocab: Path, rows: int) -> dict[str, dict]:
        """Histories of the most frequent items."""
        from steadyrank.pipeline.kinds.next_item.serving import plausible_history

        return plausible_history(module.schema, vocab, rows)

    def open_model(self, path: Path, examples: SequenceSet):
        """A ``NextItemExport``."""
        return _measure().open_model(path, examples)

    def open_baseline(self, path: Path, examples: SequenceSet, split: str):
        """A ``NextItemExport`` of the same sequences."""
        return _measure().open_baseline(path, examples, split)

    def require_baseline(self, path: Path, examples: SequenceSet, split: str) -> None:
        """It must know the ids of the sequences, by its card."""
        from steadyrank.pipeline.export.loaded import require_ids  # brings TensorFlow

        schema = self.read_schema(read_card(path)["schema"], path)
        require_ids(schema, path, examples, "baseline")

    def measure(self, config: SequenceConfig, examples: SequenceSet, export, **how) -> dict:
        """See ``kinds.next_item.measure``."""
        return _measure().measure(config, examples, export, **how)

    def skew(self, export, examples: SequenceSet, split: str) -> dict:
        """See ``kinds.next_item.skew``."""
        from steadyrank.pipeline.kinds.next_item.skew import measure_skew

        return measure_skew(export, examples, split)

    def requests(self, export, examples: SequenceSet, split: str):
        """Histories that were kept raw; see ``kinds.next_item.skew``."""
        from steadyrank.pipeline.kinds.next_item.skew import requests

        return requests(export, examples, split)

    def judge(self, metrics: Mapping, gates: Mapping) -> dict:
        """See ``kinds.next_item.gates``."""
        return judge_sequences(metrics, gates)

    def why_afresh(self, config: SequenceConfig, base: Path) -> str:
        """Other sequences need the whole log."""
        from steadyrank.pipeline.preprocess.append import why_afresh  # brings Beam

        parts = ("data.sequences", "data.window")
        return why_afresh(config, base, parts, SequenceSchema.FORMAT)

    def why_fresh(self, config: SequenceConfig, trained: Path) -> str:
        """Another model, or one of another depth."""
        from steadyrank.pipeline.train.warm_start import why_fresh  # brings TensorFlow

        before = load_any_config(trained / "config.yaml").train.phases[-1].blocks
        blocks = config.train.phases[-1].blocks
        depth = f"the model has {blocks} blocks, and had {before}"
        return why_fresh(config, trained / "config.yaml") or depth * (blocks != before)

    def without_baseline(
        self, config: SequenceConfig, new: Collection[str] | None = None
    ) -> SequenceConfig:
        """See ``kinds.next_item.gates``."""
        return without_baseline(config, new)

    def blame(
        self, config: SequenceConfig, result: dict, day: str, windows: tuple[str, ...]
    ) -> dict:
        """See ``kinds.next_item.gates``."""
        return blame(config, result, day, windows)

    def sections(self, metrics: dict, log: list[dict], manifest: dict) -> dict:
        """See ``kinds.next_item.report``."""
        return sections(metrics, log, manifest)


def _measure():
    from steadyrank.pipeline.kinds.next_item import measure  # brings TensorFlow

    return measure


KIND = NextItem()
