"""Examples to a trained model, under MirroredStrategy.

In: an example set.  Out, published when training has ended: ``best/`` (the weights that
did best on the validation split), ``checkpoints/``, ``log.jsonl``, ``tensorboard/``,
``schema.json``, ``vocab/``, ``config.yaml`` and ``train.json``.  Until then all of that
stands in ``<output>.partial``, where ``--resume`` finds it.

    steadyrank train --config C --examples DIR --output DIR [--resume]
"""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
import yaml

from components.divergence import DivergenceDetector
from components.schedules import WarmUp, scale
from models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS, build_model
from models.ranker import RankingModel
from pipeline import train_log
from pipeline.agree import agree
from pipeline.config import Config
from pipeline.dataset import batches_in_epoch, evaluation_dataset, training_dataset
from pipeline.errors import DivergenceError, InputError
from pipeline.example_set import ExampleSet, Schema
from pipeline.measure import measure, monitored
from pipeline.predict import predict
from pipeline.steps import LoggedStep
from pipeline.storage import read_json, refuse_existing, replace, write_json
from pipeline.strategy import make_strategy
from pipeline.versions import versions

FLUSH_STEPS = 50  # steps between looks at their losses: a look waits for the device
EVALUATION_ROWS = 8192

Progress = Callable[[int, int, str], None]


def train(
    config: Config,
    examples_path: Path,
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    strategy: tf.distribute.Strategy | None = None,
    progress: Progress | None = None,
) -> dict:
    """Train a model on an example set.

    Args:
        config: The run's config.
        examples_path: The example set.
        output: Where the trained model shall stand.
        resume: Whether to go on with an interrupted run: on a CPU it ends with the very
            weights of one that was never interrupted.
        overwrite: Whether a trained model, or an interrupted run, may be replaced.
        strategy: The devices; None: all GPUs, or the CPU.
        progress: Called with steps done, steps in all and a line about how it goes.

    Returns:
        What ``train.json`` holds.

    Raises:
        InputError: The examples do not suit, or the output is there already.
        DivergenceError: The loss diverged; ``<output>.partial`` holds the log.
    """
    examples = ExampleSet.open(examples_path)
    schema = agree(config, examples.schema)
    refuse_existing(output, overwrite)
    work = _work_folder(Path(output), resume, overwrite)
    if not (work / "train.json").exists():
        _write_inputs(config, schema, examples, work, resume)
        run = Run(config, schema, examples, work, strategy or make_strategy(), progress)
        write_json(work / "train.json", run.train())
    replace(work, Path(output))
    return read_json(Path(output) / "train.json", "a trained model")


class Run:
    """One training run: the model, its place in the input, and where it writes.

    The place (epoch, batch, step) and the best result so far are in the checkpoint,
    beside weights, optimizers and counters.  All that is random depends on the seed and
    the place alone.
    """

    def __init__(self, config, schema, examples, work, strategy, progress):
        self.config, self.schema, self.examples = config, schema, examples
        self.work, self.strategy = work, strategy
        self.progress = progress or (lambda *_: None)
        with strategy.scope():
            self.model = compiled_model(config, schema)
        self.place = {name: _counter() for name in ("epoch", "batch", "step", "stale")}
        self.best = tf.Variable(-np.inf, dtype=tf.float64, trainable=False)
        checkpoint = tf.train.Checkpoint(model=self.model, best=self.best, **self.place)
        self.manager = tf.train.CheckpointManager(checkpoint, work / "checkpoints", 2)
        self.step = LoggedStep(self.model, strategy)
        self.predict_tasks = tf.function(
            self.model.predict_tasks, autograph=False, reduce_retracing=True
        )
        self.detector = DivergenceDetector()
        self.started = self.looked = time.monotonic()
        self._restore(checkpoint)
        self.board = tf.summary.create_file_writer(str(work / "tensorboard"))

    def _restore(self, checkpoint) -> None:
        latest = self.manager.latest_checkpoint
        if latest:
            checkpoint.restore(latest).assert_consumed()
        self.step.reset()
        log = self.work / train_log.FILE
        train_log.cut_after(log, int(self.place["step"]))
        for line in train_log.read_lines(log) if log.exists() else ():
            train_log.watch(self.detector, line)

    def train(self) -> dict:
        """Train to the end of the last epoch, or until validation stops it."""
        settings = self.config.train
        while self._goes_on():
            epoch = int(self.place["epoch"])
            self._train_epoch(epoch)
            self._validate(epoch)
            self.place["epoch"].assign(epoch + 1)
            self.place["batch"].assign(0)
            self.manager.save()
        return {
            "fingerprint": self.schema.fingerprint,
            "epochs": int(self.place["epoch"]),
            "steps": int(self.place["step"]),
            "batch_size": settings.batch_size,
            "monitor": settings.monitor,
            "best": float(self.best),
            "parameters": parameter_counts(self.model),
            "replicas": self.strategy.num_replicas_in_sync,
            "divergence": self.detector.summary(),
            "versions": versions(),
        }

    def _goes_on(self) -> bool:
        settings = self.config.train
        stale = settings.patience is not None and self.place["stale"] > settings.patience
        return int(self.place["epoch"]) < settings.epochs and not stale

    def _train_epoch(self, epoch: int) -> None:
        settings = self.config.train
        dataset = training_dataset(
            self.examples,
            epoch=epoch,
            batch_size=settings.batch_size,
            seed=settings.seed,
            shuffle_rows=settings.shuffle_rows,
            skip_batches=int(self.place["batch"]),
        )
        if self.strategy.num_replicas_in_sync > 1:
            dataset = self.strategy.experimental_distribute_dataset(dataset)
        pending, self.looked = [], time.monotonic()
        for batch in dataset:
            pending.append(self.step(batch))
            self.place["batch"].assign_add(1)
            step = int(self.place["step"].assign_add(1))
            if len(pending) == FLUSH_STEPS:
                pending = self._flush(pending, epoch)
            if step % settings.checkpoint_every == 0:
                pending = self._flush(pending, epoch)
                self.manager.save()
        self._flush(pending, epoch)

    def _flush(self, pending: list, epoch: int) -> list:
        """Log the steps that were taken since the last look, and judge their losses."""
        last = int(self.place["step"])
        lines = [
            {
                "step": last - len(pending) + 1 + index,
                "epoch": epoch,
                **self.step.line(values, list(self.examples.windows("train"))),
                "batch_size": self.config.train.batch_size,
                "seconds": round(time.monotonic() - self.started, 3),
            }
            for index, values in enumerate(pending)
        ]
        train_log.append_lines(self.work / train_log.FILE, lines)
        self._summarise(lines)
        self._report(lines)
        for line in lines:
            event = train_log.watch(self.detector, line)
            if event and event["kind"] == "full":
                raise DivergenceError(_explain(event, self.work))
        return []

    def _summarise(self, lines: list[dict]) -> None:
        if not lines:
            return
        with self.board.as_default(lines[-1]["step"]):
            tf.summary.scalar("loss", np.mean([line["loss"] for line in lines]))
            for group in ("losses", "clipping", "clipped_rows", "learning_rate"):
                for name in lines[-1][group]:
                    mean = np.mean([line[group][name] for line in lines])
                    tf.summary.scalar(f"{group}/{name}", mean)

    def _report(self, lines: list[dict]) -> None:
        if lines:
            per_epoch = batches_in_epoch(self.examples, self.config.train.batch_size)
            total = per_epoch * self.config.train.epochs
            loss = np.mean([line["loss"] for line in lines])
            rows = sum(line["examples"] for line in lines)
            now = time.monotonic()
            rate, self.looked = rows / (now - self.looked), now
            text = f"loss {loss:.4f}, {rate:,.0f} examples/s"
            self.progress(lines[-1]["step"], total, text)

    def _validate(self, epoch: int) -> None:
        """Measure on the validation split, and keep the weights if they are the best."""
        dataset = evaluation_dataset(self.examples, "validation", EVALUATION_ROWS)
        labels, masks, outputs, _ = predict(self.predict_tasks, dataset)
        results = measure(self.schema.tasks, labels, masks, outputs)
        value = monitored(results, self.config.train.monitor)
        step = int(self.place["step"])
        line = {"step": step, "epoch": epoch, "validation": results}
        train_log.append_lines(self.work / train_log.FILE, [line])
        with self.board.as_default(step):
            tf.summary.scalar(f"validation/{self.config.train.monitor}", value)
        self.board.flush()
        monitor = self.config.train.monitor
        self.progress(step, 0, f"epoch {epoch + 1}: validation {monitor} {value:.4f}")
        if value > float(self.best) or not (self.work / "best").exists():
            self.best.assign(value if np.isfinite(value) else -np.inf)
            self.place["stale"].assign(0)
            save_weights(self.model, self.work / "best")
        else:
            self.place["stale"].assign_add(1)


def compiled_model(config: Config, schema: Schema) -> RankingModel:
    """Build a model and its two optimizers, rates scaled to the batch size."""
    settings = config.train
    dense, embedding = settings.dense, settings.embedding
    rates = scale(
        settings.scaling,
        settings.batch_scale,
        embedding.learning_rate,
        embedding.l2,
        dense.learning_rate,
    )

    def rate(value: float):
        return WarmUp(value, settings.warmup_steps) if settings.warmup_steps else value

    model = build_model(
        schema.features,
        schema.tasks,
        schema.score,
        config.model.model_dump(),
        settings.seed,
    )
    thresholds = {"threshold": dense.threshold} if dense.threshold else {}
    model.compile(
        DENSE_OPTIMIZERS[dense.optimizer](
            rate(rates.dense_rate),
            clip=dense.clip,
            relative=dense.relative_threshold,
            absolute=dense.absolute_threshold,
            **thresholds,
        ),
        ROW_OPTIMIZERS[embedding.optimizer](
            rate(rates.embedding_rate),
            clip=embedding.clip,
            r=embedding.r,
            zeta=embedding.zeta,
            l2=rates.embedding_l2,
        ),
    )
    return model


def save_weights(model: RankingModel, folder: Path) -> None:
    """Save a model's weights without its optimizers; the folder is replaced whole."""
    fresh = folder.with_name(folder.name + ".fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    weights = tf.train.Checkpoint(weights=_by_path(model))
    weights.write(str(fresh / "weights"))
    replace(fresh, folder)


def load_weights(model: RankingModel, folder: Path) -> None:
    """Load what ``save_weights`` saved.

    Raises:
        InputError: Nothing, or something else, is there.
    """
    weights = tf.train.Checkpoint(weights=_by_path(model))
    try:
        status = weights.read(str(folder / "weights"))
        status.assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, AssertionError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{folder} does not hold this model's weights: {first}") from None


def _by_path(model: RankingModel) -> dict[str, tf.Variable]:
    variables = [*model.dense_variables, *model.embedding_variables]
    return {f"{i}/{v.name.split(':')[0]}": v for i, v in enumerate(variables)}


def parameter_counts(model: RankingModel) -> dict[str, int]:
    """Dense and embedding parameters."""
    return {
        "dense": sum(int(np.prod(v.shape)) for v in model.dense_variables),
        "embedding": sum(int(np.prod(v.shape)) for v in model.embedding_variables),
    }


def _counter() -> tf.Variable:
    return tf.Variable(0, dtype=tf.int64, trainable=False)


def _work_folder(output: Path, resume: bool, overwrite: bool) -> Path:
    work = output.with_name(output.name + ".partial")
    if resume and not work.exists():
        raise InputError(f"{work}: no interrupted run to go on with; leave out --resume.")
    if work.exists() and not resume:
        if not overwrite:
            raise InputError(
                f"{work} holds an interrupted run. Pass --resume to go on with it, or "
                "--overwrite to start again."
            )
        shutil.rmtree(work)
    return work


def _write_inputs(config: Config, schema: Schema, examples, work: Path, resume: bool):
    """Put beside the weights what they belong to; refuse to go on with something else."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    if resume:
        found = read_json(work / "schema.json", "an interrupted run")["fingerprint"]
        if found != schema.fingerprint:
            raise InputError(
                f"{work} was trained on other examples (fingerprint {found[:12]}, these "
                f"have {schema.fingerprint[:12]}). Start again with --overwrite."
            )
        if (work / "config.yaml").read_text(encoding="utf-8") != text:
            raise InputError(
                f"{work} was started with another config; {work / 'config.yaml'} holds "
                "it. Go on with that one, or start again with --overwrite."
            )
        return
    try:
        work.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"cannot write {work}: {error.strerror}") from None
    shutil.copytree(examples.path / "vocab", work / "vocab")
    shutil.copy(examples.path / "manifest.json", work / "examples.json")
    write_json(work / "schema.json", schema.to_dict())
    (work / "config.yaml").write_text(text, encoding="utf-8")


def _explain(event: dict, work: Path) -> str:
    tasks = f" The losses of {', '.join(event['tasks'])} rose." if event["tasks"] else ""
    loss = "not finite" if event["loss"] is None else f"{event['loss']:.4g}"
    return (
        f"training diverged: from step {event['step']} on the loss was {loss}, after a "
        f"median of {event['median']:.4g}, and did not come back.{tasks} Lower "
        "train.dense.learning_rate, or clip (train.dense.clip: clippy). "
        f"{work / train_log.FILE} has every step."
    )
