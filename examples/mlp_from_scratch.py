"""A neural network from scratch, trained three ways: by hand, on a tape, and compiled; all three agree.

4 inputs, 3 hidden neurons, 1 output, sigmoids, squared error, gradient descent on all samples at once.  The gradients
are worked out on paper by the chain rule, recorded by `GradientTape` as the network runs, or compiled together with it.
"""

import time

import numpy as np

import tracejit as tj

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


def train(error_and_gradients, steps):
    """Gradient descent; the last error and the weights found."""
    weights = initial()
    for _ in range(steps):
        error, gradients = error_and_gradients(weights, X, WANTED)
        weights = [weight - RATE * gradient for weight, gradient in zip(weights, gradients, strict=True)]
    return error, weights


def main(steps=2000):
    ways = {"by hand": by_hand, "GradientTape": on_a_tape, "jit(value_and_grad)": compiled}
    found = {}
    for name, way in ways.items():
        start = time.perf_counter()
        error, found[name] = train(way, steps)
        print(f"{name:20} error {error:.12f} after {steps} steps, {time.perf_counter() - start:.2f} s")
    expected = found["by hand"]
    differences = [abs(a - b).max() for weights in found.values() for a, b in zip(weights, expected, strict=True)]
    print(f"largest difference between the weights: {max(differences):.1e}")
    for x, wanted, output in zip(X, WANTED, predict(expected, X), strict=True):
        print(f"{x} -> {output[0]:.3f} (wanted {wanted[0]:.0f})")


if __name__ == "__main__":
    main()
