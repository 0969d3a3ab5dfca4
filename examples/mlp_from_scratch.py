"""A neural network from scratch, trained five ways, from paper and pencil up to `model.fit`'s level; all agree.

4 inputs, 3 hidden neurons, 1 output, sigmoids, squared error, gradient descent on all samples at once.  The gradients
are worked out on paper by the chain rule; or recorded by `GradientTape` as the network runs; or compiled together with
it; or nodes of a graph, whose values a session gives and plain NumPy takes away from the weights; or of no concern,
as `model.compile` and `train_on_batch` see to it all.
"""

import time

import numpy as np

import tracejit as tj
import tracejit.graph as tf
from tracejit import nn, optim

X = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
WANTED = np.array([[1.0], [1.0], [0.0]])
RATE = 0.1


def initial():
    """Hidden weights and biases, output weights and bias."""
    random = np.random.default_rng(0)
    return [random.normal(size=(4, 3)), np.zeros(3), random.normal(size=(3, 1)), np.zeros(1)]


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def predict(weights, x):
    hidden_weights, hidden_bias, output_weights, output_bias = weights
    hidden = sigmoid(x @ hidden_weights + hidden_bias)
    return sigmoid(hidden @ output_weights + output_bias)


def squared_error(weights, x, wanted):
    return np.sum((predict(weights, x) - wanted) ** 2)


def by_hand(weights, x, wanted):
    """The error, and its partial derivatives by the chain rule: dE/dW = dE/dy * dy/dz * dz/dW, layer by layer."""
    hidden_weights, hidden_bias, output_weights, output_bias = weights
    hidden = sigmoid(x @ hidden_weights + hidden_bias)
    output = sigmoid(hidden @ output_weights + output_bias)
    at_output = 2.0 * (output - wanted) * output * (1.0 - output)
    at_hidden = (at_output @ output_weights.T) * hidden * (1.0 - hidden)
    gradients = [x.T @ at_hidden, at_hidden.sum(axis=0), hidden.T @ at_output, at_output.sum(axis=0)]
    return np.sum((output - wanted) ** 2), gradients


def on_a_tape(weights, x, wanted):
    """The same by recording what the network does, op by op."""
    variables = [tj.Array(weight, requires_grad=True) for weight in weights]
    with tj.GradientTape() as tape:
        error = squared_error(variables, x, wanted)
    return error.item(), [gradient.numpy() for gradient in tape.gradient(error, variables)]


compiled = tj.jit(tj.value_and_grad(squared_error))


def in_a_graph():
    """Low level: placeholders for the weights, a node for each gradient; the updates are made outside."""
    with tf.Graph().as_default():
        variables = [tf.placeholder(tf.float64, weight.shape) for weight in initial()]
        x, wanted = tf.placeholder(tf.float64, (None, 4)), tf.placeholder(tf.float64, (None, 1))
        hidden = tf.sigmoid(tf.matmul(x, variables[0]) + variables[1])
        output = tf.sigmoid(tf.matmul(hidden, variables[2]) + variables[3])
        error = tf.reduce_sum(tf.pow(output - wanted, 2))
        gradients = [tf.gradients(error, [variable])[0] for variable in variables]
        session = tf.Session()

    def error_and_gradients(weights, inputs, targets):
        feeds = dict(zip(variables, weights, strict=True))
        return session.run([error, gradients], feed_dict={**feeds, x: inputs, wanted: targets})

    return error_and_gradients


def high_level(steps):
    """Layers in a row, a loss, an optimizer, `train_on_batch`."""
    model = nn.Sequential()
    model.add(nn.Dense(3, activation="sigmoid", input_dim=4, dtype=np.float64))
    model.add(nn.Dense(1, activation="sigmoid", dtype=np.float64))
    model.load_state_dict(dict(zip(model.state_dict(), initial(), strict=True)))
    model.compile(loss=lambda predicted, wanted: np.sum((predicted - wanted) ** 2), optimizer=optim.SGD(RATE))
    for _ in range(steps):
        error = model.train_on_batch(X, WANTED)
    return error, list(model.state_dict().values())


def train(error_and_gradients, steps):
    """Gradient descent; the last error and the weights found."""
    weights = initial()
    for _ in range(steps):
        error, gradients = error_and_gradients(weights, X, WANTED)
        weights = [weight - RATE * gradient for weight, gradient in zip(weights, gradients, strict=True)]
    return error, weights


def main(steps=2000):
    ways = {
        "by hand": lambda: train(by_hand, steps),
        "GradientTape": lambda: train(on_a_tape, steps),
        "jit(value_and_grad)": lambda: train(compiled, steps),
        "Session": lambda: train(in_a_graph(), steps),
        "train_on_batch": lambda: high_level(steps),
    }
    found = {}
    for name, way in ways.items():
        start = time.perf_counter()
        error, found[name] = way()
        print(f"{name:20} error {error:.12f} after {steps} steps, {time.perf_counter() - start:.2f} s")
    expected = found["by hand"]
    differences = [abs(a - b).max() for weights in found.values() for a, b in zip(weights, expected, strict=True)]
    print(f"largest difference between the weights: {max(differences):.1e}")
    for x, wanted, output in zip(X, WANTED, predict(expected, X), strict=True):
        print(f"{x} -> {output[0]:.3f} (wanted {wanted[0]:.0f})")


if __name__ == "__main__":
    main()
