"""A trained model to a SavedModel under the next version number.

In: what ``train`` published.  Out: ``<output>/<version>/``, as TensorFlow Serving reads
it; ``assets.extra/`` there holds ``card.json`` (schema, config, training summary, data,
package versions, git revision), the training log, from which the divergence gate judges,
and the requests with which TensorFlow Serving warms up.

    steadyrank export --config C --train DIR --output DIR
"""

import dataclasses
import shutil
from pathlib import Path

import tensorflow as tf

from steadyrank.models.build import build_model
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.examples.compatibility import require_same
from steadyrank.pipeline.examples.example_set import Schema
from steadyrank.pipeline.export.card import CARD, EXTRA, next_version
from steadyrank.pipeline.export.signatures import ServingModule
from steadyrank.pipeline.export.warmup import WARMUP_FILE, write_warmup
from steadyrank.pipeline.files.publish import publish, read_json, write_json
from steadyrank.pipeline.files.versions import git_revision, versions
from steadyrank.pipeline.train.log import LOG_FILE
from steadyrank.pipeline.train.model import load_weights


def export(config: Config, train_path: Path, output: Path) -> Path:
    """Export the best weights of a training run.

    Args:
        config: The run's config: its ``model`` must be that of training; its ``score``,
            which is not learned, is taken.
        train_path: What ``train`` published.
        output: The folder of versions.

    Returns:
        The new version's folder.

    Raises:
        InputError: There is no whole trained model, or of another config.
    """
    train_path, output = Path(train_path), Path(output)
    summary = read_json(train_path / "train.json", "a trained model")
    document = read_json(train_path / "schema.json", "a trained model")
    schema = Schema.from_dict(document, train_path / "schema.json")
    schema = dataclasses.replace(schema, score=config.score_formula)
    require_same(config, train_path / "config.yaml", ["features", "tasks", "model"])
    settings = config.model.model_dump()
    model = build_model(
        schema.features, schema.tasks, schema.score, settings, config.train.seed
    )
    load_weights(model, train_path / "best")
    shared, dtype = config.serving.shared, config.export.embedding_dtype
    module = ServingModule(model, schema, train_path / "vocab", shared, dtype)
    version = output / str(next_version(output))
    with publish(version) as partial:
        tf.saved_model.save(module, str(partial), module.signatures)
        extra = partial / EXTRA
        extra.mkdir()
        shutil.copy(train_path / LOG_FILE, extra / LOG_FILE)
        card = {
            "schema": schema.to_dict(),
            "config": config.model_dump(mode="json"),
            "training": summary,
            "data": read_json(train_path / "examples.json", "a trained model"),
            "versions": versions(),
            "git_revision": git_revision(),
            "signatures": sorted(module.signatures),
            "embedding_dtype": dtype,
        }
        write_json(extra / CARD, card)
        write_warmup(extra / WARMUP_FILE, schema, train_path / "vocab", shared)
    return version
