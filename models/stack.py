"""StackRec: a trained next-item model grown into a deeper one, its blocks copied.

L blocks before, D after.  Every copy is by name, and a name that is left over on either
side is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from steadyrank.models.next_item import NextItemModel

STACKED = ("adjacent", "cross")
OPERATORS = (*STACKED, "random", "embedding")


@dataclass(frozen=True)
class Copied:
    """What is copied beside embeddings, positions, convolutions and attention.

    By default nothing, as in StackRec's code.  Right after its growth such a model is
    embeddings, identities and a random softmax: its loss jumps.

    Args:
        alpha: The blocks' residual weights; else they start at 0.
        layer_norm: Gains and biases of all LayerNorms.
        feed_forward: The feed-forward nets of SASRec's blocks.
        softmax: The output table.
        slots: What the optimizers remember of the weights that are copied, and their
            count of steps.
    """

    alpha: bool = False
    layer_norm: bool = False
    feed_forward: bool = False
    softmax: bool = False
    slots: bool = False


EVERYTHING = Copied(alpha=True, layer_norm=True, feed_forward=True, softmax=True)


def block_sources(operator: str, blocks: int, top: int | None = None) -> list[int | None]:
    """Which block of the shallow model each block of the deep one is copied from.

    With n new blocks, D = L + n (0-based, n = L if it is not given: twice as deep):

    - ``adjacent``: i below L - n from i, above from ``(i - (L - n)) // 2 + L - n``; for
      n = L this is ``i // 2``;
    - ``cross``: i below L from i, above from ``i - n``; for n = L this is ``i mod L``;
    - ``random``: i below L from i, above from nowhere (the article's StackR);
    - ``embedding``: all from nowhere (its StackE).

    Reference: StackRec (SIGIR 2021), equations 4 and 5, and its ``copytop`` code.

    Args:
        operator: One of these.
        blocks: L.
        top: n, 1 to L.

    Returns:
        D places, 0 to L - 1; None: none.

    Example:

    >>> block_sources("adjacent", 2), block_sources("cross", 2)
    ([0, 0, 1, 1], [0, 1, 0, 1])
    >>> block_sources("adjacent", 4, top=2)
    [0, 1, 2, 2, 3, 3]
    """
    if operator not in OPERATORS:
        raise ValueError(
            f"operator must be one of {OPERATORS}. Received: operator={operator!r}. "
            "Use 'adjacent', or 'cross'."
        )
    n = blocks if top is None else top
    if not 1 <= n <= blocks:
        raise ValueError(
            f"top must lie from 1 to {blocks}, the number of blocks. Received: top={n}. "
            "Grow again to go deeper."
        )
    kept = blocks - n
    if operator == "adjacent":
        return [i if i < kept else (i - kept) // 2 + kept for i in range(blocks + n)]
    if operator == "cross":
        return [i if i < blocks else i - n for i in range(blocks + n)]
    new: list[int | None] = [None] * (blocks + n)
    return new if operator == "embedding" else [*range(blocks), *new[blocks:]]


def grow(
    model: NextItemModel,
    operator: str = "adjacent",
    copied: Copied = Copied(),  # noqa: B008  (frozen)
    top: int | None = None,
) -> NextItemModel:
    """A deeper model that starts from a trained one, which stays as it is.

    To be called in the scope of the strategy under which it will be trained.

    Args:
        model: Trained; where it is compiled, the new one is too, with optimizers of the
            same settings.
        operator: See ``block_sources``.
        copied: What else is copied.  ``random`` keeps alphas and LayerNorms of the blocks
            that it keeps, whatever this says.
        top: Number of new blocks; None: twice as deep.

    Returns:
        The deeper model.
    """
    sources = block_sources(operator, model.encoder.blocks, top)
    return _grown(model, sources, copied, operator == "random", silent=set())


def grow_unchanged(
    model: NextItemModel, operator: str = "cross", top: int | None = None
) -> NextItemModel:
    """A deeper model that computes exactly what the trained one does.

    Old blocks, softmax and optimizer state are kept.  New blocks are copies whose alphas
    start at 0, so that they are the identity until training finds a use for them.  Not in
    StackRec, whose copies make the loss jump.

    Args:
        model: Trained; with alpha, its blocks such that alpha 0 is the identity:
            NextItNet's, and SASRec's with ``normalize_first``.
        operator: ``"cross"``: new blocks above the old ones; or ``"adjacent"``: each
            after the one that it copies, which NextItNet's dilations do not allow.
        top: As for ``grow``.

    Returns:
        The deeper model.
    """
    encoder = model.encoder
    if not encoder.alpha or (encoder.kind == "sasrec" and not encoder.normalize_first):
        raise ValueError(
            "model must have blocks that are the identity at alpha 0. Received: "
            f"kind={encoder.kind!r}, alpha={encoder.alpha}, normalize_first="
            f"{encoder.normalize_first}. Train with alpha, and SASRec normalized first."
        )
    sources = block_sources(operator, encoder.blocks, top)
    if operator not in STACKED:
        raise ValueError(
            f"operator must be one of {STACKED}. Received: operator={operator!r}. "
            "The others do not keep what was trained."
        )
    new = {i for i, source in enumerate(sources) if source in sources[:i]}
    copied = Copied(**{**EVERYTHING.__dict__, "slots": hasattr(model, "dense_optimizer")})
    return _grown(model, sources, copied, False, silent=new)


def _grown(model, sources, copied, keeps_blocks, *, silent):
    config = model.get_config()
    config["encoder"]["config"]["blocks"] = len(sources)
    deep = NextItemModel.from_config(config)
    if silent:
        _require_like_blocks(model, deep, sources, silent)
    compiled = hasattr(model, "dense_optimizer")
    if compiled:
        model.catch_up()
        dense, rows = model.dense_optimizer, model.embedding_optimizer
        settings = [(each, each.get_config()) for each in (dense, rows)]
        guard = model.spike_guard and model.spike_guard.kappa
        optimizers = (type(o).from_config(c) for o, c in settings)
        deep.compile(*optimizers, spike_guard=guard, xla=model.xla)
    old, new = model.saved_weights(), deep.saved_weights()
    plan = _plan(new, sources, copied, keeps_blocks, silent=silent)
    check_names(plan, old, new, _left_out(old, sources, copied, keeps_blocks))
    for target, source in plan.items():
        if source is not None:
            new[target].assign(old[source])
        elif _parts(target)[1].startswith("alpha"):
            new[target].assign(0.0)  # wherever those of a first phase start
    if copied.slots:
        _copy_slots(model, deep, {new[t].ref(): old[s] for t, s in plan.items() if s})
    return deep


def _require_like_blocks(model, deep, sources, silent):
    """An old block must compute in its new place what it did before."""
    for place, source in enumerate(sources):
        before, after = model.encoder.block_layers[source], deep.encoder.block_layers[place]
        before, after = (getattr(block, "dilation", None) for block in (before, after))
        if place not in silent and before != after:
            raise ValueError(
                f"Block {source} would move to place {place}, of another dilation. "
                f"Received: dilations {before} and {after}. Use operator='cross' on an "
                "even number of blocks."
            )


def _plan(names, sources, copied, keeps_blocks, *, silent):
    """Weight of the deep model -> that of the shallow one; None: stays at its start."""
    plan = {}
    for name in names:
        block, local = _parts(name)
        source = name
        if block is not None:
            source = None if sources[block] is None else f"block_{sources[block]}/{local}"
        kept = keeps_blocks and block is not None
        if not kept and not _is_copied(local, copied):
            source = None
        if block in silent and local.startswith("alpha"):
            source = None
        plan[name] = source
    return plan


def _left_out(names, sources, copied, keeps_blocks):
    """Weights of the shallow model that nothing is to be copied from."""
    found = set()
    for name in names:
        block, local = _parts(name)
        kept = keeps_blocks and block is not None
        unused = block is not None and block not in sources
        if unused or (not kept and not _is_copied(local, copied)):
            found.add(name)
    return found


def _parts(name):
    """``block_3/kernel_0`` -> (3, kernel_0); outside of the blocks (None, name)."""
    block, slash, local = name.partition("/")
    number = block.removeprefix("block_")
    return (int(number), local) if slash and number.isdigit() else (None, name)


def _is_copied(local, copied):
    switches = {
        "alpha": copied.alpha,
        "norm": copied.layer_norm,
        "feed_forward": copied.feed_forward,
        "softmax": copied.softmax,
    }
    return all(on for start, on in switches.items() if local.startswith(start))


def check_names(plan: Mapping[str, str | None], old, new, left_out) -> None:
    """Refuse a copy that would leave a weight of either model to chance.

    Args:
        plan: Name in the deep model -> name in the shallow one, None: not copied.
        old: Names of the shallow model's weights.
        new: Names of the deep model's weights.
        left_out: Names in the shallow model that are not to be copied.
    """
    used = {source for source in plan.values() if source is not None}
    missing = sorted(used - set(old)) + sorted(set(new) - set(plan))
    unused = sorted(set(old) - used - set(left_out))
    if missing or unused:
        raise ValueError(
            "Weights must match by name. Received: wanted by the deep model and not in "
            f"the shallow one: {missing}; in the shallow one and not used: {unused}. "
            "Grow into a model of the same kind."
        )


def _copy_slots(model, deep, pairs):
    for kind in ("dense_optimizer", "embedding_optimizer"):
        before, after = getattr(model, kind), getattr(deep, kind)
        after.iterations.assign(before.iterations)
        dense = kind == "dense_optimizer"
        for variable in deep.dense_variables if dense else deep.embedding_variables:
            source = pairs.get(variable.ref())
            if source is None:
                continue
            states = zip(after.state_of(variable), before.state_of(source), strict=True)
            for target, value in states:
                target.assign(value)
