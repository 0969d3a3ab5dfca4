"""One gradient step of logistic regression with weight decay."""

import numpy as np

from tests.programs import Program


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def gradient_step(weights, bias, features, labels, rate=0.1, decay=1e-3):
    p = sigmoid(features @ weights + bias)
    error = p - labels
    loss = -np.mean(labels * np.log(p + 1e-12) + (1 - labels) * np.log(1 - p + 1e-12))
    gradient = features.T @ error / len(labels) + decay * weights
    return weights - rate * gradient, bias - rate * error.mean(), loss


def make_arguments(rng, size):
    features = rng.normal(size=(4 * size, 6))
    return rng.normal(size=6), 0.1, features, (features[:, 0] + features[:, 1] > 0).astype(np.float64)


PROGRAMS = [Program("logistic_regression", gradient_step, make_arguments)]
