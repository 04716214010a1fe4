"""A trained model of any kind to a SavedModel under the next version number.

In: what ``train`` published.  Out: ``<output>/<version>/``, as TensorFlow Serving reads
it; ``assets.extra/`` there holds ``card.json`` (kind, schema, config, training summary,
data, package versions, git revision, hash of the files), the training log, from which the
divergence gate judges, and the requests with which TensorFlow Serving warms up.

    steadyrank export --config C --train DIR --output DIR
"""

import shutil
from pathlib import Path

import tensorflow as tf

from steadyrank.pipeline.examples.compatibility import require_same
from steadyrank.pipeline.export.card import CARD, EXTRA, next_version
from steadyrank.pipeline.export.warmup import ROWS, WARMUP_FILE, write_warmup
from steadyrank.pipeline.files.publish import (
    hash_folder,
    publish,
    read_json,
    write_json,
)
from steadyrank.pipeline.files.shapes import Manifest, Trained
from steadyrank.pipeline.files.versions import git_revision, versions
from steadyrank.pipeline.kinds.protocol import Kind
from steadyrank.pipeline.train.log import LOG_FILE

TRAINED = "a trained model"
MADE_BY = ("features", "tasks", "model")  # sections that must be those of training


def export(config, train_path: Path, output: Path, *, kind: Kind) -> Path:
    """Export the best weights of a training run.

    Args:
        config: The run's config: its ``model`` must be that of training; what is not
            learned, such as ``score`` or ``serving``, is taken.
        train_path: What ``train`` published.
        output: The folder of versions.
        kind: Of the model.

    Returns:
        The new version's folder.

    Raises:
        InputError: There is no whole trained model, or of another config.
    """
    train_path, output = Path(train_path), Path(output)
    summary = read_json(train_path / "train.json", TRAINED, Trained)
    document = read_json(train_path / "schema.json", TRAINED)
    schema = kind.read_schema(document, train_path / "schema.json")
    data = read_json(train_path / "examples.json", TRAINED, Manifest)
    require_same(config, train_path / "config.yaml", MADE_BY)
    module = kind.serving_module(config, schema, train_path)
    version = output / str(next_version(output))
    with publish(version) as partial:
        tf.saved_model.save(module, str(partial), module.signatures)
        extra = partial / EXTRA
        extra.mkdir()
        shutil.copy(train_path / LOG_FILE, extra / LOG_FILE)
        card = {
            "kind": kind.name,
            "schema": module.schema.to_dict(),
            "config": config.model_dump(mode="json"),
            "training": summary,
            "data": data,
            "versions": versions(),
            "git_revision": git_revision(),
            "signatures": sorted(module.signatures),
            "content": hash_folder(partial, EXTRA),
        }
        write_json(extra / CARD, card)
        requests = [kind.warmup(module, train_path / "vocab", rows) for rows in ROWS]
        write_warmup(extra / WARMUP_FILE, requests)
    return version
