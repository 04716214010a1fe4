"""A kind of its own, by the protocol alone: two towers, whose product says who clicks."""

import csv
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.components.losses import binary_cross_entropy
from steadyrank.components.metrics.grouped import auc
from steadyrank.components.optimizers.schedules import Backoff, Rates
from steadyrank.models.batch_rows import BatchRows
from steadyrank.models.features import Task
from steadyrank.models.trained import TrainedModel
from steadyrank.pipeline.config.gates import Gates
from steadyrank.pipeline.config.section import Section
from steadyrank.pipeline.config.stages import Tracking
from steadyrank.pipeline.config.training import DenseOptimizer, EmbeddingOptimizer, Train
from steadyrank.pipeline.examples.compatibility import read_by_preprocessing
from steadyrank.pipeline.export.card import find_version, read_card
from steadyrank.pipeline.export.latency import signatures_of
from steadyrank.pipeline.files.publish import publish, read_json, write_json
from steadyrank.pipeline.gates.judge import judge
from steadyrank.pipeline.kinds.protocol import Kind, Learner
from steadyrank.pipeline.metrics.soundness import measure_learned
from steadyrank.pipeline.train.optimizers import make_optimizers
from steadyrank.pipeline.train.weights import load_weights

SPLITS, TABLES = ("train", "validation", "test"), ("user", "item")


class ToyModel(Section):
    dim: int = 4


class ToyTrain(Train):
    epochs: int = 6
    batch_size: int = 32
    dense: DenseOptimizer = DenseOptimizer(learning_rate=0.1)
    embedding: EmbeddingOptimizer = EmbeddingOptimizer(learning_rate=0.1, clip="none")


class ToyConfig(Section):
    data: dict = {}
    model: ToyModel = ToyModel()
    train: ToyTrain = ToyTrain()
    gates: Gates = Gates()
    tracking: Tracking = Tracking()


@dataclass(frozen=True)
class ToySchema:
    rows: int
    mean: float
    fingerprint: str

    def to_dict(self):
        return asdict(self)


@dataclass(frozen=True)
class ToyExamples:
    path: Path
    schema: ToySchema
    manifest: dict

    def read(self, split):
        found = np.load(self.path / f"{split}.npy")
        return {n: found[:, i] for i, n in enumerate(TABLES)}, found[:, 2].astype("f4")


class TwoTowers(TrainedModel):
    def __init__(self, rows, dim, seed):
        super().__init__(name="two_towers")
        start = tf.keras.initializers.RandomNormal(stddev=0.1, seed=seed)
        self.towers = {
            n: self.add_weight(n, [rows, dim], initializer=start) for n in TABLES
        }
        self.bias = self.add_weight("bias", [], initializer="zeros")

    tables = property(lambda self: dict(self.towers))
    task_weights = property(lambda self: {"click": 1.0})

    def log_name(self, variable):
        return variable.name.split(":")[0]

    def saved_weights(self):
        return {**self.tables, "bias": self.bias}

    def call(self, rows):
        return tf.reduce_sum(rows["user"] * rows["item"], axis=1) + self.bias

    def logits(self, ids):
        return self({n: tf.gather(self.towers[n], ids[n]) for n in TABLES})

    def train_step(self, data):
        ids, labels = data
        rows = BatchRows(self.tables, ids, self.embedding_optimizer)
        with tf.GradientTape() as tape:
            tape.watch(rows.gathered)
            loss = tf.reduce_mean(binary_cross_entropy(labels, self(rows.gathered)))
        of_bias, of_rows = tape.gradient(loss, (self.bias, rows.gathered))
        self.dense_optimizer.apply_gradients([(of_bias, self.bias)])
        rows.apply(of_rows)
        return self.report(loss, {"click": loss})


class TwoTowersLearner(Learner):
    def __init__(self, setting, phase, backoff):
        settings = self.settings = setting.config.train
        self.examples, dim = setting.examples, setting.config.model.dim
        self.model = TwoTowers(setting.schema.rows, dim, settings.seed)
        rates = Rates(Backoff(0.1, backoff), 0.0, Backoff(0.1, backoff), {})
        both = make_optimizers(settings.dense, settings.embedding, rates)
        self.model.compile(*both)
        rows = len(self.examples.read("train")[1])
        self.batches_in_epoch = -(-rows // settings.batch_size)

    def batches(self, epoch, skip):
        (ids, labels), size = self.examples.read("train"), self.settings.batch_size
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(len(labels))
        for first in range(skip * size, len(order), size):
            own = order[first : first + size]
            windows, given = np.zeros(len(own), int), {n: v[own] for n, v in ids.items()}
            yield tf.nest.map_structure(tf.constant, (given, labels[own], windows))

    def measure(self, split, window=None):
        ids, labels = self.examples.read(split)
        return results(labels, self.model.logits(ids).numpy())


def results(labels, scores):
    found = {"kind": "binary", "rows": len(labels), "positives": int(labels.sum())}
    return {"click": {**found, "auc": auc(labels, scores)}}


class Serving(tf.Module):
    signatures = property(lambda self: dict(self.functions))

    def __init__(self, model, schema):
        super().__init__()
        self.weights, self.schema = [*model.saved_weights().values()], schema
        specs = {n: tf.TensorSpec([None], tf.int64, n) for n in TABLES}
        served = tf.function(lambda ids: {"click": tf.sigmoid(model.logits(ids))}, [specs])
        self.functions = {"serving_default": served.get_concrete_function()}


class Export:
    def __init__(self, path, examples, *_):
        self.path, self.card = find_version(path), read_card(path)
        self.schema = ToySchema(**self.card["schema"])
        self.call = signatures_of(self.path)["serving_default"]


class Toy(Kind):
    name = "toy"
    open_model = open_baseline = staticmethod(Export)
    learner = staticmethod(TwoTowersLearner)
    judge = staticmethod(judge)
    read_schema = staticmethod(lambda document, source: ToySchema(**document))
    tasks = staticmethod(lambda config: {"click": "binary"})
    monitor = staticmethod(lambda config: "auc")
    monitored = staticmethod(lambda found, monitor: found["click"][monitor])

    def preprocess(self, config, folder, output, beam_flags=(), **how):
        with (folder / "log.csv").open() as file:
            rows = np.array([[int(v) for v in r.values()] for r in csv.DictReader(file)])
        n = len(rows)
        parts = dict(zip(SPLITS, np.split(rows, [n // 2, 3 * n // 4]), strict=True))
        seal = hashlib.sha256(rows.tobytes()).hexdigest()
        mean = float(parts["train"][:, 2].mean())
        schema = ToySchema(int(rows[:, :2].max()) + 1, mean, seal)
        manifest = {"fingerprint": seal, "config": read_by_preprocessing(config)}
        manifest["rows"] = {"read": n, "written": n, "duplicates": 0, "rejected": {}}
        with publish(output, how.get("overwrite", False)) as work:
            (work / "vocab").mkdir()
            for split, part in parts.items():
                np.save(work / f"{split}.npy", part)
            write_json(work / "schema.json", schema.to_dict())
            write_json(work / "manifest.json", manifest)
        return manifest

    def open_examples(self, path):
        schema = ToySchema(**read_json(path / "schema.json", "examples"))
        return ToyExamples(path, schema, read_json(path / "manifest.json", "examples"))

    def serving_module(self, config, schema, trained):
        model = TwoTowers(schema.rows, config.model.dim, config.train.seed)
        load_weights(model, trained / "best")
        return Serving(model, schema)

    def warmup(self, module, vocab, rows):
        return {"serving_default": {n: np.zeros(rows, np.int64) for n in TABLES}}

    def requests(self, export, examples, split):
        return lambda rows: self.warmup(None, None, rows)

    def measure(self, config, examples, export, *, baseline, split):
        ids, labels = examples.read(split)
        outputs, masks = export.call(ids), {"click": np.ones(len(labels))}
        columns = {"labels": {"click": labels}, "masks": masks, "outputs": outputs}
        means = {"click": examples.schema.mean}
        return {
            "rows": len(labels), "tasks": results(labels, outputs["click"]),
            "baseline": None,
            "finite": {"rows": {split: len(labels)}, "nonfinite": {split: {"click": 0}}},
            "learned": {"where": split,
                        "tasks": measure_learned([Task("click")], columns, means)},
        }  # fmt: skip

    def skew(self, export, examples, split):
        return {"rows": 1, "max_difference": 0.0, "signatures": {}, "outputs": {}}

    sections = staticmethod(lambda metrics, *_: {"Towers": str(metrics["tasks"])})


KIND = Toy()
