"""Training runs of the multitask study: splits in memory, models, epochs, measures."""

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.multitask_synthetic import widened
from steadyrank.components.batch_function import BatchFunction
from steadyrank.models.ranker import RankingModel
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.kinds.ranking.model import compiled_model
from steadyrank.pipeline.metrics.tasks import measure
from steadyrank.pipeline.train.weights import parameter_counts

EVALUATION_ROWS = 16_384


@dataclasses.dataclass(frozen=True)
class Columns:
    """A split in memory: features, labels and masks by name, ``[rows, ...]``."""

    features: dict
    labels: dict
    masks: dict

    @classmethod
    def read(cls, examples: ExampleSet, split: str) -> "Columns":
        batches = list(evaluation_dataset(examples, split, EVALUATION_ROWS))
        return cls(*tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *batches))

    @property
    def rows(self) -> int:
        return int(next(iter(self.labels.values())).shape[0])

    def of(self, schema: Schema) -> tuple[dict, dict, dict]:
        """What a model of some of the features and tasks reads."""
        tasks = [task.name for task in schema.tasks]
        return (
            {f.name: self.features[f.name] for f in schema.features},
            {name: self.labels[name] for name in tasks},
            {name: self.masks[name] for name in tasks},
        )


class Trial:
    """One model on one training split.

    Args:
        config: What to build and how to train it.
        schema: The model's schema.
        columns: Split -> its rows.
    """

    def __init__(self, config: Config, schema: Schema, columns: dict[str, Columns]):
        self.config, self.schema = config, schema
        self.columns = {name: split.of(schema) for name, split in columns.items()}
        self.rows = columns["train"].rows
        settings = config.train
        self.per_epoch = -(-self.rows // settings.batch_size)
        steps = self.per_epoch * settings.epochs
        self.model: RankingModel = compiled_model(config, schema, steps=steps)
        self._step = BatchFunction(self._step_on)
        self._predict = BatchFunction(self.model.head.predict_tasks)

    def begin_again(self, seed: int) -> None:
        """Go back to the start of a run with another seed, by the same graphs."""
        train = self.config.train.model_copy(update={"seed": seed})
        self.config = self.config.model_copy(update={"train": train})
        steps = self.per_epoch * train.epochs
        fresh = compiled_model(self.config, self.schema, steps=steps)
        for ours, theirs in zip(_state(self.model), _state(fresh), strict=True):
            ours.assign(theirs)

    def _step_on(self, rows):
        batch = tf.nest.map_structure(
            lambda values: tf.gather(values, rows), self.columns["train"]
        )
        return self.model.train_step(batch)["loss"]

    def order(self, random: np.random.Generator) -> np.ndarray:
        """The order of the rows in an epoch."""
        return random.permutation(self.rows)

    def epochs(self, splits=("validation", "test")) -> Iterator[dict]:
        """Train, and after each epoch give every split's measures by task."""
        size, began = self.config.train.batch_size, time.monotonic()
        for epoch in range(self.config.train.epochs):
            random = np.random.default_rng([self.config.train.seed, epoch])
            order = tf.constant(self.order(random), tf.int32)
            losses = [
                self._step(order[start : start + size])
                for start in range(0, self.rows, size)
            ]
            loss = float(tf.reduce_mean(tf.stack(losses)))
            seconds = round(time.monotonic() - began, 1)
            found = {split: self.measure(split) for split in splits}
            yield {"epoch": epoch + 1, "loss": loss, "seconds": seconds, **found}

    def outputs(self, split: str) -> dict[str, np.ndarray]:
        """Predictions of a split by task."""
        features, parts = self.columns[split][0], []
        rows = int(next(iter(features.values())).shape[0])
        for start in range(0, rows, EVALUATION_ROWS):
            batch = {k: v[start : start + EVALUATION_ROWS] for k, v in features.items()}
            parts.append({k: v.numpy() for k, v in self._predict(batch).items()})
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def measure(self, split: str) -> dict[str, dict]:
        """Task -> its metrics on a split."""
        _, labels, masks = self.columns[split]
        labels, masks = (
            {k: v.numpy() for k, v in part.items()} for part in (labels, masks)
        )
        return measure(self.schema.tasks, labels, masks, self.outputs(split))


def _state(model: RankingModel) -> list[tf.Variable]:
    """All that training changes."""
    parts = (model, model.dense_optimizer, model.embedding_optimizer)
    return [variable for part in parts for variable in part.variables]


# 97.5 % quantiles by freedom
STUDENT = dict(
    enumerate((12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262), start=1)
)


def interval(values: Sequence[float]) -> dict:
    """Mean of the seeds' values, Student's interval at 95 %, and the values."""
    values = [float(value) for value in values]
    mean, n = float(np.mean(values)), len(values)
    half = float("nan")
    if n > 1:
        half = STUDENT[n - 1] * float(np.std(values, ddof=1)) / n**0.5
    return {"mean": mean, "interval": [mean - half, mean + half], "values": values}


def mean_auc(areas: Mapping[str, float]) -> float:
    return float(np.mean(list(areas.values())))


class Contest:
    """Models of like size on one data set.

    The config's own model is PLE or CGC; MMoE has as many of the same experts, single
    and the others as many weights in their networks.

    Args:
        config: A config whose trunk is ``ple`` or ``cgc``.
        examples: Its examples.
    """

    def __init__(self, config: Config, examples: ExampleSet):
        self.config, self.examples = config, examples
        self.trials: dict[str, Trial] = {}
        self.columns = {
            split: Columns.read(examples, split)
            for split in ("train", "validation", "test")
        }

    @classmethod
    def prepare(cls, config: Config, data: Path, folder: Path) -> "Contest":
        """Preprocess the data, unless an earlier part did."""
        if not folder.exists():
            preprocess(config, data, folder)
        return cls(config, ExampleSet.open(folder))

    def run(self, model: str, seed: int, keys: Mapping | None = None) -> dict:
        """Train one model, or single's models, and judge it at its best epoch.

        Args:
            model: ``single``, ``ple`` or a trunk's name.
            seed: Of weights and order.
            keys: Further keys of the model's section.

        Returns:
            ``test`` and ``validation`` AUC by task, parameters, epochs, seconds.
        """
        settings = self.settings(model) | dict(keys or {})
        tasks = [task.name for task in self.config.tasks]
        groups = [[task] for task in tasks] if model == "single" else [tasks]
        found = {"model": model, "seed": seed, "test": {}, "validation": {}, "epochs": []}
        found |= {"parameters": {"dense": 0, "embedding": 0}, "seconds": 0.0}
        for group in groups:
            trial = self._trial(self.variant(settings, seed, group))
            lines = [areas_of(line) for line in trial.epochs()]
            best = max(lines, key=lambda line: mean_auc(line["validation"]))
            found["test"] |= best["test"]
            found["validation"] |= best["validation"]
            found["epochs"].append(best["epoch"])
            found["seconds"] += lines[-1]["seconds"]
            for kind, count in parameter_counts(trial.model).items():
                found["parameters"][kind] += count
        cells = " ".join(f"{task} {area:.4f}" for task, area in found["test"].items())
        print(f"{model} seed {seed}: {cells} ({found['seconds']:.0f} s)", flush=True)
        return found

    def _trial(self, config: Config) -> Trial:
        """A trial at its start; one of other seeds is used again, for its graphs."""
        key = config.model_copy(
            update={"train": config.train.model_copy(update={"seed": 0})}
        ).model_dump_json()
        if key in self.trials:
            self.trials[key].begin_again(config.train.seed)
        else:
            schema = agree(config, self.examples.schema)
            self.trials[key] = Trial(config, schema, self.columns)
        return self.trials[key]

    def epochs(self, config: Config, splits=("validation", "test")) -> list[dict]:
        """AUC by split and task after each epoch of a config."""
        return [areas_of(line) for line in self._trial(config).epochs(splits)]

    def settings(self, model: str) -> dict:
        """The ``model`` section of a rival as large as the config's own model."""
        own = self.config.model.model_dump()
        if model in ("ple", own["trunk"]):
            return own
        tasks, units = len(self.config.tasks), own["expert_units"]
        levels = own.get("levels", 1)
        experts = levels * (own["shared_experts"] + tasks * own["task_experts"])
        shared = {name: own[name] for name in ("embedding_dim", "tower_units", "front")}
        if model in ("mmoe", "omoe"):
            return {"trunk": model, "experts": experts, "expert_units": units, **shared}
        if model == "ml_mmoe":
            count = {"experts": experts // 2, "levels": 2, "expert_units": units}
            return {"trunk": model, **count, **shared}
        networks = {"shared_bottom": 1, "customized": tasks + 1}.get(model, tasks)
        trunk = "shared_bottom" if model == "single" else model
        width = self.width()
        bottom = [u + u % 2 for u in widened(width, units, experts / networks)]
        return {"trunk": trunk, "bottom_units": bottom, **shared}

    def width(self) -> int:
        """Columns of what a trunk reads."""
        features = agree(self.config, self.examples.schema).features
        return sum(feature.dim if feature.rows else 2 for feature in features)

    def variant(self, settings: dict, seed: int, tasks: Sequence[str]) -> Config:
        """The config with another model, seed and some of its tasks."""
        document = self.config.model_dump(mode="json")
        alone = len(tasks) == 1
        document |= {
            "model": settings,
            "tasks": [
                {**task, "weight": 1.0 if alone else task["weight"]}
                for task in document["tasks"]
                if task["name"] in tasks
            ],
            "score": "",
            "gates": {},
        }
        document["train"] |= {"seed": seed, "monitor": "mean_auc"}
        return Config.model_validate(document)


def areas_of(line: dict) -> dict:
    """An epoch's line with nothing but each task's AUC."""
    areas = {
        split: {task: result["auc"] for task, result in line[split].items()}
        for split in ("validation", "test")
        if split in line
    }
    return {**line, **areas}
