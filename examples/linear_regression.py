"""A line through four points, fitted three ways: a graph run by a session, eager arrays, and a compiled function.

The model is W * x + b with W = 0.4 and b = -0.4 at first; the points lie on y = 2 x.  Gradient descent on the sum of
squared errors, a thousand steps of 0.01.
"""

import numpy as np

import tracejit as tj
import tracejit.graph as tf

X, Y = [1, 2, 3, 4], [2, 4, 6, 8]
RATE, STEPS = 0.01, 1000


def graph_mode():
    """Define, then run: placeholders, variables, an optimizer's operation, a session."""
    with tf.Graph().as_default(), tf.Session() as sess:
        W = tf.Variable([0.4], tf.float32)
        b = tf.Variable([-0.4], tf.float32)
        x = tf.placeholder(tf.float32)
        y = tf.placeholder(tf.float32)
        linear_model = W * x + b
        loss = tf.reduce_sum(tf.square(linear_model - y))
        train = tf.train.GradientDescentOptimizer(RATE).minimize(loss)
        sess.run(tf.global_variables_initializer())
        first = sess.run(linear_model, {x: X})
        error = sess.run(loss, {x: X, y: Y})
        for _ in range(STEPS):
            sess.run(train, {x: X, y: Y})
        return first, error, *sess.run([W, b])


def eager_mode():
    """Define by run: arrays that remember how they came about."""
    W = tj.Array(np.array([0.4], np.float32), requires_grad=True)
    b = tj.Array(np.array([-0.4], np.float32), requires_grad=True)
    x, y = np.array(X, np.float32), np.array(Y, np.float32)
    first = (W * x + b).numpy()
    for step in range(STEPS):
        loss = np.sum(np.square(W * x + b - y))
        if step == 0:
            error = loss.item()
        loss.backward()
        with tj.no_grad():
            W[...] = W - RATE * W.grad
            b[...] = b - RATE * b.grad
        W.zero_grad()
        b.zero_grad()
    return first, error, W.numpy(), b.numpy()


def compiled():
    """Plain functions: the loss, its gradient and the step are one compiled function."""

    def model(parameters, x):
        return parameters["W"] * x + parameters["b"]

    def loss(parameters, x, y):
        return np.sum(np.square(model(parameters, x) - y))

    @tj.jit
    def step(parameters, x, y):
        error, gradient = tj.value_and_grad(loss)(parameters, x, y)
        return error, {name: value - RATE * gradient[name] for name, value in parameters.items()}

    x, y = np.array(X, np.float32), np.array(Y, np.float32)
    parameters = {"W": np.array([0.4], np.float32), "b": np.array([-0.4], np.float32)}
    first = tj.jit(model)(parameters, x)
    error = step(parameters, x, y)[0]
    for _ in range(STEPS):
        _, parameters = step(parameters, x, y)
    return first, error, parameters["W"], parameters["b"]


def main():
    for way in (graph_mode, eager_mode, compiled):
        first, error, W, b = way()
        shown = ", ".join(f"{value:.1f}" for value in np.abs(first))
        print(f"{way.__name__:10}  first [{shown}]  loss {error:.2f}  then W = {W[0]:.6f}, b = {b[0]:.6f}")


if __name__ == "__main__":
    main()
