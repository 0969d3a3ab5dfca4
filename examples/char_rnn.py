"""A recurrent network that learns to write a text, character by character."""

import numpy as np

import tracejit as tj
from tracejit import nn, optim

TEXT = """
the graph is made as the code runs, and the code runs as the graph is made.
what is traced is fused, what is fused is fast, and what is fast is plain numpy.
a loop is a loop, a branch is a branch, and a kernel is a loop that you can read.
""".strip()
LETTERS = sorted(set(TEXT))
PLACE = {letter: place for place, letter in enumerate(LETTERS)}


class Writer(nn.Module):
    def __init__(self, hidden=96):
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), 24)
        self.memory = nn.GRU(24, hidden)
        self.output = nn.Linear(hidden, len(LETTERS))

    def forward(self, letters, state=None):
        """Logits of the letters that follow, and the state."""
        states, last = self.memory(self.embedding(letters), state)
        return self.output(states), last


def windows(length):
    """Every stretch of the text, and the same one letter later."""
    places = np.array([PLACE[letter] for letter in TEXT])
    starts = np.arange(len(places) - length)
    return np.stack([places[s : s + length] for s in starts]), np.stack(
        [places[s + 1 : s + length + 1] for s in starts]
    )


def write(model, beginning, count):
    """The likeliest letters after a beginning."""
    values = model.state_dict()
    step = tj.jit(lambda letters, state: nn.functional_call(model, values, letters, state))
    logits, state = tj.jit(lambda letters: nn.functional_call(model, values, letters))(
        np.array([[PLACE[letter] for letter in beginning]])
    )
    text = beginning
    for _ in range(count):
        text += LETTERS[int(np.argmax(logits[0, -1]))]
        logits, state = step(np.array([[PLACE[text[-1]]]]), state)
    return text


def main(epochs=12, length=24):
    tj.random.seed(0)
    model = Writer()
    step = nn.TrainStep(model, lambda result, wanted: nn.losses.cross_entropy(result[0], wanted), optim.Adam(0.01))
    loader = tj.data.DataLoader(*windows(length), batch_size=32, shuffle=True)
    for epoch in range(epochs):
        losses = [float(step(letters, following)[0]) for letters, following in loader]
        if epoch in (0, epochs // 2, epochs - 1):
            print(f"epoch {epoch + 1:2}: loss {np.mean(losses):.3f} a letter")
    print(write(model.eval(), "the graph is ", 62))


if __name__ == "__main__":
    main()
