"""Naive NumPy references, written from the papers. Imports nothing of this project.

Loops on purpose: slow, plain, float64.
"""

import math

import numpy as np


def sum_duplicates(indices, values):
    """Dict of id to (summed row, count)."""
    found = {}
    for index, value in zip(indices, values, strict=True):
        total, count = found.get(int(index), (np.zeros(len(value)), 0))
        found[int(index)] = (total + value, count + 1)
    return found


def clippy_factor(delta, w, relative, absolute):
    """sigma by its definition: the smallest of bound / |delta| and 1."""
    sigma = 1.0
    for d, x in zip(np.ravel(delta), np.ravel(w), strict=True):
        if d != 0:
            sigma = min(sigma, (relative * abs(x) + absolute) / abs(d))
    return sigma


def clippy_adagrad_step(w, g, accumulator, rate, relative, absolute, epsilon=1e-7):
    """One step in the paper's order; returns (w, accumulator, sigma)."""
    accumulator = accumulator + np.square(g)
    r = g / np.sqrt(accumulator + epsilon)
    sigma = clippy_factor(rate * r, w, relative, absolute)
    return w - rate * sigma * r, accumulator, sigma


def cow_clip(g, w, counts, r=1.0, zeta=1e-5):
    """Algorithm 1 row by row; returns (clipped, mask)."""
    clipped, mask = np.array(g, np.float64), []
    for i in range(len(g)):
        bound = counts[i] * max(r * math.sqrt(sum(x * x for x in w[i])), zeta)
        norm = math.sqrt(sum(x * x for x in g[i]))
        mask.append(norm > bound)
        if norm > 0:
            clipped[i] = g[i] * min(bound, norm) / norm
    return clipped, np.array(mask, bool)


def adam(w, g, m, v, t, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Algorithm 1 of Adam with the corrections folded into the rate (section 2)."""
    m = beta_1 * m + (1 - beta_1) * g
    v = beta_2 * v + (1 - beta_2) * g * g
    alpha = rate * math.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return w - alpha * m / (np.sqrt(v) + epsilon), m, v


def row_adam_step(state, indices, values, t, rate, l2=0.0, clip=True, **bounds):
    """Changes ``state`` = (w, m, v), float64 tables, row by row, in place."""
    w, m, v = state
    for row, (g, count) in sum_duplicates(indices, values).items():
        g = g + 2 * l2 * w[row]
        if clip:
            g = cow_clip(g[None], w[row][None], [count], **bounds)[0][0]
        w[row], m[row], v[row] = adam(w[row], g, m[row], v[row], t, rate)


def absent_adam(w, m, v, last, steps, rate, l2):
    """Dense Adam step by step on weights whose only gradient is the L2's."""
    for t in range(last + 1, last + steps + 1):
        w, m, v = adam(w, 2 * l2 * w, m, v, t, rate)
    return w, m, v


def absent_adagrad(w, accumulator, steps, rate, l2, row_wise=False, epsilon=1e-7):
    """Dense Adagrad step by step on weights whose only gradient is the L2's."""
    for _ in range(steps):
        g = 2 * l2 * w
        square = np.mean(g * g, axis=1, keepdims=True) if row_wise else g * g
        accumulator = accumulator + square
        w = w - rate * g / np.sqrt(accumulator + epsilon)
    return w, accumulator


def published_cowclip_step(state, indices, values, t, rate, l2, r=1.0, zeta=1e-5):
    """One step of CowClip's code on whole tables (w, m, v): L2 on all rows, an absent id
    counts once, clip, Adam on all rows.  In place."""
    w, m, v = state
    g, counts = 2 * l2 * w, np.zeros(len(w))
    for index, value in zip(indices, values, strict=True):
        g[index] += value
        counts[index] += 1
    g = cow_clip(g, w, np.maximum(counts, 1), r, zeta=zeta)[0]
    w[:], m[:], v[:] = adam(w, g, m, v, t, rate)


def auc(labels, scores):
    """All pairs, ties one half."""
    won, pairs = 0.0, 0
    for label, score in zip(labels, scores, strict=True):
        for other, rival in zip(labels, scores, strict=True):
            if label == 1 and other == 0:
                won += 1.0 if score > rival else 0.5 if score == rival else 0.0
                pairs += 1
    return won / pairs if pairs else math.nan


def gauc(labels, scores, groups):
    """Mean AUC of the groups that have both classes, weighted by their rows."""
    total, weight = 0.0, 0
    for group in set(groups):
        inside = [i for i, each in enumerate(groups) if each == group]
        area = auc([labels[i] for i in inside], [scores[i] for i in inside])
        if not math.isnan(area):
            total, weight = total + area * len(inside), weight + len(inside)
    return total / weight if weight else math.nan


def log_loss(labels, probabilities):
    """Mean of -log of the probability of what happened."""
    total = 0.0
    for label, p in zip(labels, probabilities, strict=True):
        total -= math.log(p if label == 1 else 1 - p)
    return total / len(labels)


def softmax(logits):
    """Of one vector."""
    powers = [math.exp(x - max(logits)) for x in logits]
    return [power / sum(powers) for power in powers]


def mixture(gate_logits, experts):
    """Weighted sum of ``experts`` [B][E][D] by the softmax of ``gate_logits`` [B][E]."""
    rows = []
    for logits, row in zip(gate_logits, experts, strict=True):
        weights = softmax(list(logits))
        rows.append(sum(w * e for w, e in zip(weights, row, strict=True)))
    return np.array(rows)


def mlp(x, kernels, biases):
    """ReLU after every layer."""
    for kernel, bias in zip(kernels, biases, strict=True):
        x = np.maximum(x @ kernel + bias, 0.0)
    return x
