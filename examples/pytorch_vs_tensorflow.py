"""One network in two styles, side by side: PyTorch's (a class, a loop of your own) and TensorFlow's (graph and Keras).

All three train the same classifier of points inside and outside of a circle, from the same first weights, and end with
the same ones: they are three ways to one compiler.
"""

import numpy as np

import tracejit as tj
import tracejit.graph as tf
from tracejit import nn, optim

STEPS, RATE = 300, 0.5


def points(count=400):
    """Points in a square, and whether each lies inside a circle."""
    x = np.random.default_rng(0).uniform(-1, 1, (count, 2))
    return x, (np.sum(x**2, axis=1, keepdims=True) < 0.5).astype(float)


# ---- PyTorch's style: the graph is made as the code runs


class NeuralNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(2, 16, dtype=np.float64)
        self.output = nn.Linear(16, 1, dtype=np.float64)

    def forward(self, x):
        return self.output(np.tanh(self.hidden(x)))


def pytorch_style(x, y, weights, steps):
    model = NeuralNet()
    model.load_state_dict(weights)
    optimizer = optim.SGD(RATE).over(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.losses.binary_cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    return float(loss), model.state_dict()


# ---- TensorFlow 1's style: the graph first, then a session


def tensorflow_style(x, y, weights, steps):
    with tf.Graph().as_default(), tf.Session() as session:
        inputs = tf.placeholder(tf.float64, (None, 2), name="x")
        wanted = tf.placeholder(tf.float64, (None, 1), name="y")
        variables = {name: tf.Variable(value, name=name.replace(".", "/")) for name, value in weights.items()}
        with tf.name_scope("hidden_layer"):
            hidden = tf.tanh(tf.matmul(inputs, variables["hidden.weight"]) + variables["hidden.bias"])
        with tf.name_scope("output_layer"):
            logits = tf.matmul(hidden, variables["output.weight"]) + variables["output.bias"]
        loss = tf.reduce_mean(tf.softplus(logits) - logits * wanted)
        train = tf.train.GradientDescentOptimizer(RATE).minimize(loss)
        session.run(tf.global_variables_initializer())
        for _ in range(steps):
            error, _ = session.run([loss, train], {inputs: x, wanted: y})
        return float(error), session.run(variables)


# ---- Keras' style: layers in a row, and fit


def keras_style(x, y, weights, steps):
    model = nn.Sequential()
    model.add(nn.Dense(16, activation="tanh", input_dim=2, dtype=np.float64))
    model.add(nn.Dense(1, dtype=np.float64))
    model.compile(optimizer=optim.SGD(RATE), loss="binary_crossentropy")
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    history = model.fit(x, y, batch_size=len(x), epochs=steps, shuffle=False, verbose=False)
    return history.history["loss"][-1], dict(zip(weights, model.state_dict().values(), strict=True))


def main(steps=STEPS):
    tj.random.seed(0)
    x, y = points()
    weights = NeuralNet().state_dict()
    found = {}
    for style in (pytorch_style, tensorflow_style, keras_style):
        error, found[style.__name__] = style(x, y, weights, steps)
        model = NeuralNet()
        model.load_state_dict(found[style.__name__])
        right = np.mean((np.asarray(model(x)) > 0) == (y > 0.5))
        print(f"{style.__name__:17} loss {error:.12f}, {right:.1%} of the points right")
    first = found["pytorch_style"]
    worst = max(np.abs(w[name] - first[name]).max() for w in found.values() for name in first)
    print(f"largest difference between the weights: {worst:.1e}")


if __name__ == "__main__":
    main()
