"""Confusion matrix, precision and recall from labels."""

import numpy as np

from tests.programs import Program


def confusion(truth, guess, classes):
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (truth, guess), 1)
    hits = np.diag(matrix)
    precision = hits / np.maximum(matrix.sum(axis=0), 1)
    recall = hits / np.maximum(matrix.sum(axis=1), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return matrix, precision, recall, f1


def confusion_one_hot(truth, guess, classes):
    first = (truth[:, None] == np.arange(classes)).astype(np.int64)
    second = (guess[:, None] == np.arange(classes)).astype(np.int64)
    return first.T @ second


def make_arguments(rng, size):
    return rng.integers(0, 5, 6 * size), rng.integers(0, 5, 6 * size), 5


PROGRAMS = [
    Program("confusion_matrix", confusion, make_arguments),
    Program("confusion_one_hot", confusion_one_hot, make_arguments, (0.0, 0.0)),
]
