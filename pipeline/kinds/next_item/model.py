"""A config's next-item model: built, compiled, grown, or started from another run's."""

from pathlib import Path

import numpy as np

from steadyrank.components.optimizers.schedules import Backoff, Rates
from steadyrank.components.sequences.encoder import SequenceEncoder
from steadyrank.models.next_item import NextItemModel
from steadyrank.models.stack import grow, grow_unchanged
from steadyrank.pipeline.config import parse_sequence_config, read_document
from steadyrank.pipeline.config.next_item import Phase, SequenceConfig
from steadyrank.pipeline.examples.example_set import vocab_path
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.files.shapes import Trained, TrainedInPhases
from steadyrank.pipeline.kinds.next_item.example_set import ITEM, SequenceSchema
from steadyrank.pipeline.kinds.protocol import Setting
from steadyrank.pipeline.train.optimizers import make_optimizers
from steadyrank.pipeline.train.warm_start import Stretch, WarmStart
from steadyrank.pipeline.train.weights import load_weights
from steadyrank.pipeline.train.workers import ALONE

TRAINED = "a trained next-item model"
BLOCK_SEEDS = 100_000  # apart: the seeds of a model's blocks, and those of its tables


def build(config: SequenceConfig, schema: SequenceSchema, blocks: int) -> NextItemModel:
    """A model at its start, not compiled; the last item of its catalogue is the unknown."""
    settings, seed = config.model, config.train.seed
    encoder = SequenceEncoder(
        settings.block,
        blocks,
        settings.alpha,
        alpha_start=1.0,
        heads=settings.heads,
        max_length=schema.history,
        dropout=settings.dropout_rate,
        normalize_first=settings.normalize_first,
        seed=seed * BLOCK_SEEDS,
    )
    tied, sampled = settings.is_tied, settings.sampled
    return NextItemModel(
        encoder, schema.unknown, settings.dim, sampled, tied=tied, seed=seed
    )


def compile_model(model: NextItemModel, config: SequenceConfig, backoff=1.0) -> None:
    """Give a model the config's optimizers, at their start.

    Args:
        model: The model.
        config: The run's config.
        backoff: A variable that multiplies both learning rates, or a number.
    """
    dense, embedding = config.train.dense, config.train.embedding
    of_rows, of_dense = (Backoff(s.learning_rate, backoff) for s in (embedding, dense))
    rates = Rates(of_rows, embedding.l2, of_dense, {})
    optimizers = make_optimizers(dense, embedding, rates)
    guard = config.train.spike_guard
    model.compile(*optimizers, spike_guard=guard, xla=config.train.xla)


def start(setting: Setting, number: int) -> NextItemModel:
    """What a phase grows from: fresh weights, another run's, or the phase before."""
    config, schema, work = setting.config, setting.schema, setting.work
    phases, workers = config.train.phases, setting.workers or ALONE
    if WarmStart.read(work):  # from the end of another run
        return build(config, schema, phases[number].blocks)
    if number:
        model = build(config, schema, phases[number - 1].blocks)
        if workers.is_chief:  # of whom the others get theirs
            load_weights(model, work / "phases" / str(number - 1) / "best")
        return model
    if config.train.start_from is not None:
        beside = work if workers.is_chief else setting.examples.path
        return trained_before(config, schema, beside / "vocab")
    return build(config, schema, phases[0].blocks)


def best_model(
    config: SequenceConfig, schema: SequenceSchema, trained: Path
) -> NextItemModel:
    """A trained model with the best weights of its last phase, not compiled."""
    summary = read_json(trained / "train.json", TRAINED, TrainedInPhases)
    model = build(config, schema, summary["phases"][-1]["blocks"])
    load_weights(model, trained / "best")
    return model


def grown(model: NextItemModel, phase: Phase) -> NextItemModel:
    """The model at the depth of a phase; it is the same where the phase grows nothing."""
    if not phase.grow:
        return model
    top = phase.blocks - model.encoder.blocks
    if phase.grow == "unchanged":
        return grow_unchanged(model, top=top)
    return grow(model, phase.grow, top=top)


def shared_rows(
    model: NextItemModel, before: SequenceSchema, schema: SequenceSchema
) -> list[tuple]:
    """Rows that a model has in common with one of fewer items; the unknown comes last.

    Args:
        model: The model.
        before: The other's schema.
        schema: The model's own.

    Returns:
        ``pipeline.train.warm_start.Tables``.
    """

    def parts(first: int) -> list[Stretch]:
        old, new = before.unknown - first, schema.unknown - first
        return [Stretch(0, 0, old, new), Stretch(old, new, 1, 1)]

    softmax = [] if model.tied else [(model.softmax_table, parts(1))]
    return [(model.item_table, parts(0)), *softmax]


def trained_before(
    config: SequenceConfig, schema: SequenceSchema, vocab: Path
) -> NextItemModel:
    """The model of ``train.start_from`` on this run's catalogue.

    Blocks are copied whole, and so is the vector of every item that both catalogues know,
    by its raw value; other items and the softmax are at their start.

    Args:
        config: The run's config.
        schema: The schema of this run.
        vocab: The folder of this run's vocabulary.

    Raises:
        InputError: There is no trained model, or one of another shape.
    """
    folder = Path(config.train.start_from)
    read_json(folder / "train.json", TRAINED, Trained)
    document = read_json(folder / "schema.json", TRAINED)
    before = SequenceSchema.from_dict(document, folder / "schema.json")
    place = folder / "config.yaml"
    theirs = parse_sequence_config(read_document(place), str(place))
    _require_like(theirs, config, folder)
    depth = theirs.train.phases[-1].blocks
    source, target = (build(theirs, before, depth), build(config, schema, depth))
    load_weights(source, folder / "best")
    old, new = source.saved_weights(), target.saved_weights()
    for name in new:
        if name.startswith("block_") or name.startswith("norm"):
            new[name].assign(old[name])
    if "positions" in new:  # counted from the newest
        shared = min(schema.history, before.history)
        positions = new["positions"].numpy()
        positions[-shared:] = old["positions"].numpy()[-shared:]
        new["positions"].assign(positions)
    rows, places = _shared_items(vocab, folder / "vocab")
    vectors = new["item_embedding"].numpy()
    vectors[rows] = old["item_embedding"].numpy()[places]
    vectors[schema.unknown] = old["item_embedding"].numpy()[before.unknown]
    new["item_embedding"].assign(vectors)
    return target


def _require_like(theirs: SequenceConfig, config: SequenceConfig, folder: Path) -> None:
    for name in ("block", "dim", "alpha", "heads", "normalize_first"):
        wanted, found = getattr(config.model, name), getattr(theirs.model, name)
        if wanted != found:
            raise InputError(
                f"train.start_from: model.{name} must be {found!r}, as in {folder}. "
                f"Received: {wanted!r}. Set it so, or train anew."
            )
    depth, first = theirs.train.phases[-1].blocks, config.train.phases[0]
    grows = depth < first.blocks <= 2 * depth if first.grow else first.blocks == depth
    if not grows:
        raise InputError(
            f"train.phases.0: {folder} has {depth} blocks; take as many, or up to twice as "
            f"many with grow. Received: blocks={first.blocks}, grow={first.grow}."
        )


def _shared_items(vocab: Path, other: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the items that both vocabularies hold: in one, and in the other."""
    ours, theirs = (
        np.array(vocab_path(folder, ITEM).read_text(encoding="utf-8").split("\n")[:-1])
        for folder in (vocab, other)
    )
    _, here, there = np.intersect1d(ours, theirs, return_indices=True)
    return here + 1, there + 1
