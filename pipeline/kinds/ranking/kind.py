"""The kind of ranking models."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from steadyrank.models.features import served_features
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema
from steadyrank.pipeline.export.card import read_card
from steadyrank.pipeline.gates import nights
from steadyrank.pipeline.gates.judge import judge
from steadyrank.pipeline.kinds.protocol import RANKING, Kind, Phase, Setting
from steadyrank.pipeline.metrics.samples import MAIN
from steadyrank.pipeline.metrics.tasks import monitored
from steadyrank.pipeline.report import ranking_sections


class Ranking(Kind):
    """See ``kinds.protocol.Kind``."""

    name = RANKING

    def preprocess(
        self,
        config: Config,
        folder: Path,
        output: Path,
        beam_flags: Iterable[str] = (),
        **how,
    ) -> dict:
        """See ``pipeline.preprocess.stage``."""
        from steadyrank.pipeline.preprocess.stage import preprocess  # brings Beam

        return preprocess(config, folder, output, beam_flags, **how)

    def open_examples(self, path: Path) -> ExampleSet:
        """A whole example set."""
        return ExampleSet.open(path)

    def read_schema(self, document: dict, source: Path) -> Schema:
        """See ``Schema.from_dict``."""
        return Schema.from_dict(document, source)

    def agree(self, config: Config, schema: Schema) -> Schema:
        """See ``examples.compatibility.agree``."""
        return agree(config, schema)

    def tasks(self, config: Config) -> dict[str, str]:
        """Those of the config."""
        return {task.name: task.kind for task in config.tasks}

    def monitor(self, config: Config) -> str:
        """``train.monitor``."""
        return config.train.monitor

    def main_metrics(self, config: Config) -> dict[str, str]:
        """AUC, and RMSE of regression tasks."""
        return {task: MAIN[kind] for task, kind in self.tasks(config).items()}

    def monitored(self, results: Mapping, monitor: str) -> float:
        """See ``metrics.tasks.monitored``."""
        return monitored(results, monitor)

    def phases(self, setting: Setting) -> list[Phase]:
        """One, over all epochs, in the run's own folder."""
        settings = setting.config.train
        # so many epochs in a row may be without gain
        patience = None if settings.patience is None else settings.patience + 1
        return [Phase(setting.work, settings.epochs, patience=patience)]

    def learner(self, setting: Setting, phase: Phase, backoff):
        """A ``RankingLearner``."""
        from steadyrank.pipeline.kinds.ranking.learner import RankingLearner

        return RankingLearner(setting, phase, backoff)

    def serving_module(self, config: Config, schema: Schema, trained: Path):
        """A ``ServingModule`` of the config's score."""
        from steadyrank.pipeline.export.signatures import ServingModule
        from steadyrank.pipeline.kinds.ranking.model import best_model

        schema = dataclasses.replace(schema, score=config.score_formula)
        served = served_features(schema.features)
        return ServingModule(
            best_model(config, schema, trained),
            dataclasses.replace(schema, features=served),
            trained / "vocab",
            config.serving.shared,
            embedding_dtype=config.export.embedding_dtype,
        )

    def warmup(self, module, vocab: Path, rows: int) -> dict[str, dict]:
        """See ``plausible_requests``."""
        from steadyrank.pipeline.export.warmup import plausible_requests

        return plausible_requests(module.schema, vocab, rows, module.shared)

    def open_model(self, path: Path, examples: ExampleSet):
        """An ``Export``."""
        return _measure().open_model(path, examples)

    def open_baseline(self, path: Path, examples: ExampleSet, split: str):
        """An ``Export`` of any features, trunk and vocabularies."""
        return _measure().open_baseline(path, examples, split)

    def require_baseline(self, path: Path, examples: ExampleSet, split: str) -> None:
        """See ``evaluate.baseline``."""
        from steadyrank.pipeline.evaluate.baseline import require_baseline

        require_baseline(path, examples, split)

    def measure(self, config: Config, examples: ExampleSet, export, **how) -> dict:
        """See ``kinds.ranking.measure``."""
        return _measure().measure(config, examples, export, **how)

    def skew(self, export, examples: ExampleSet, split: str) -> dict:
        """See ``export.skew``."""
        from steadyrank.pipeline.export.skew import measure_skew

        return measure_skew(export, examples, split)

    def requests(self, export, examples: ExampleSet, split: str):
        """See ``kinds.ranking.measure``."""
        return _measure().requests(export, examples, split)

    def judge(self, metrics: Mapping, gates: Mapping) -> dict:
        """See ``gates.judge``."""
        return judge(metrics, gates)

    def keep_for(self, config: Config, baseline: Path | None) -> Config:
        """See ``evaluate.baseline``."""
        from steadyrank.pipeline.evaluate.baseline import keep_for  # brings TensorFlow

        return keep_for(config, baseline)

    def why_afresh(self, config: Config, base: Path) -> str:
        """See ``preprocess.append``."""
        from steadyrank.pipeline.preprocess.append import why_afresh  # brings Beam

        return why_afresh(config, base)

    def why_fresh(self, config: Config, trained: Path) -> str:
        """See ``train.warm_start``."""
        from steadyrank.pipeline.train.warm_start import why_fresh  # brings TensorFlow

        return why_fresh(config, trained / "config.yaml")

    def new_tasks(self, config: Config, export: Path) -> list[str]:
        """By name."""
        known = {task["name"] for task in read_card(export)["schema"]["tasks"]}
        return [task.name for task in config.tasks if task.name not in known]

    def without_baseline(self, config: Config, new=None) -> Config:
        """See ``gates.nights``."""
        return nights.without_baseline(config, new)

    def blame(
        self, config: Config, result: dict, day: str, windows: tuple[str, ...]
    ) -> dict:
        """See ``gates.nights``."""
        return nights.blame(config, result, day, windows)

    def sections(self, metrics: dict, log: list[dict], manifest: dict) -> dict:
        """See ``report.ranking_sections``."""
        return ranking_sections(metrics, log, manifest)


def _measure():
    from steadyrank.pipeline.kinds.ranking import measure  # brings TensorFlow

    return measure


KIND = Ranking()
