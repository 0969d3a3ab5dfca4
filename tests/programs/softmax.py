"""Softmax, log-softmax and the cross-entropy loss, in float32."""

import numpy as np

from tests.programs import SINGLE, Program


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def cross_entropy(logits, labels):
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    log_probability = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    loss = -log_probability[np.arange(len(labels)), labels].mean()
    accuracy = np.mean(np.argmax(logits, axis=1) == labels)
    return loss, accuracy


def make_logits(rng, size):
    return (rng.normal(size=(size, 10)).astype(np.float32),)


def make_arguments(rng, size):
    return (*make_logits(rng, size), rng.integers(0, 10, size))


PROGRAMS = [
    Program("softmax", softmax, make_logits, SINGLE),
    Program("cross_entropy", cross_entropy, make_arguments, SINGLE),
]
