"""CowClip: clip the gradient of each id by its count and the norm of its embedding.

Reference: Zheng et al., "CowClip: Reducing CTR Prediction Model Training Time from 12
hours to 10 minutes on 1 GPU" (AAAI 2023), Algorithm 1.  A "column" is the embedding of
one id, which is a row here.  U unique ids of a batch, D width.
"""

import tensorflow as tf

FORMS = ("paper", "reference")


def _norm(x):
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=1))


def threshold(w, counts, r=1.0, zeta=1e-5, *, form="paper"):
    """Upper bound on the gradient norm of each id; see ``cow_clip``.

    Args:
        w: ``[U, D]``, the embeddings.
        counts: ``[U]``, how many samples of the global batch hold each id.
        r: As for ``cow_clip``.
        zeta: As for ``cow_clip``.
        form: As for ``cow_clip``.

    Returns:
        ``[U]``.

    Raises:
        ValueError: Unknown form.
    """
    if form == "paper":
        return counts * tf.maximum(r * _norm(w), zeta)
    if form == "reference":
        floor = r * zeta * tf.sqrt(tf.cast(tf.shape(w)[1], w.dtype))
        return r * tf.maximum(_norm(w), floor) * counts
    raise ValueError(
        f"form must be one of {FORMS}. Received: form={form!r}. "
        "Use 'paper' unless you compare with the published code."
    )


def cow_clip(g, w, counts, r=1.0, *, zeta=1e-5, form="paper"):
    """Scales each row of ``g`` down to its bound ``cnt * max(r ||w||, zeta)``.

    ``g_c = g * min(clip, ||g||) / ||g||`` (Algorithm 1).  A row under its bound, a zero
    row among them, is returned bit for bit.

    Args:
        g: ``[U, D]``, gradient of the mean loss, repeated ids summed, L2 included.
        w: ``[U, D]``, the embeddings of the same ids.
        counts: ``[U]``, how many samples of the global batch hold each id.
        r: Bound relative to the norm of the embedding; 1 in the published runs.
        zeta: Floor of the bound, so that small embeddings can grow; 1e-5 on Criteo.
        form: ``"paper"``; or ``"reference"``, the published code: its zeta counts per
            coordinate and r multiplies the floor, twice. Equal for r = 1 up to
            sqrt(D) in zeta.

    Returns:
        ``(clipped [U, D], mask [U] bool)``, the mask true where a row was clipped.
    """
    bound = threshold(w, counts, r, zeta, form=form)
    length = _norm(g)
    clipped = length > bound
    scale = tf.where(clipped, bound / length, tf.ones_like(bound))
    return g * scale[:, tf.newaxis], clipped


def group_clip(g, w, groups, count, *, r=1.0, zeta=1e-5):
    """One factor for all ids of a group: what CowClip's authors tried before it.

    ``g_c = g min(1, max(r ||w||, zeta) / ||g||)`` with norms over the batch's ids of a
    group: a field's, or all of them.  The coarser the group, the more the few frequent
    ids decide how far the many rare ones may move.

    Args:
        g: ``[U, D]``, as for ``cow_clip``.
        w: ``[U, D]``, likewise.
        groups: int ``[U]``, the group of each id, from 0.  Squares that overflow in the
            sum of a group leave it where it is.
        count: Number of groups; 1: the global norm.
        r: Bound relative to the norm of the group's embeddings.
        zeta: Floor of the bound.

    Returns:
        As ``cow_clip``.
    """

    def norms(x):  # a row that is not finite, and will not move, stops no other
        squares = tf.reduce_sum(tf.square(x), axis=1)
        squares = tf.where(tf.math.is_finite(squares), squares, 0.0)
        return tf.sqrt(tf.math.unsorted_segment_sum(squares, groups, count))

    length, bound = norms(g), tf.maximum(r * norms(w), zeta)
    clipped = length > bound
    scale = tf.where(clipped, bound / length, tf.ones_like(bound))
    return g * tf.gather(scale, groups)[:, tf.newaxis], tf.gather(clipped, groups)
