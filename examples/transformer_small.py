"""A small transformer that learns to sort: it reads digits and writes them in order."""

import numpy as np

import tracejit as tj
from tracejit import nn, optim

DIGITS, LENGTH = 10, 6
BEGIN = DIGITS


class Sorter(nn.Module):
    """Reads `digits, BEGIN, sorted digits so far`; says which digit comes next."""

    def __init__(self, features=48, heads=4, blocks=2):
        super().__init__()
        self.tokens = nn.Embedding(DIGITS + 1, features)
        self.places = nn.Embedding(2 * LENGTH, features)
        self.blocks = nn.ModuleList(nn.TransformerBlock(features, heads, causal=True) for _ in range(blocks))
        self.norm = nn.LayerNorm(features)
        self.output = nn.Linear(features, DIGITS)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.places(np.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x))


def lists(count, seed):
    """Digits, and what the transformer reads of each list."""
    digits = np.random.default_rng(seed).integers(0, DIGITS, (count, LENGTH))
    ordered = np.sort(digits, axis=1)
    return digits, np.concatenate([digits, np.full((count, 1), BEGIN), ordered[:, :-1]], axis=1), ordered


def sort(predict, digits):
    """Write the digits in order, one after the other."""
    tokens = np.concatenate([digits, np.full((len(digits), 1), BEGIN)], axis=1)
    for _ in range(LENGTH):
        following = np.argmax(predict(tokens)[:, -1], axis=1)[:, None]
        tokens = np.concatenate([tokens, following], axis=1)
    return tokens[:, LENGTH + 1 :]


def main(steps=400, batch=128):
    tj.random.seed(0)
    model = Sorter()
    schedule = optim.schedules.warmup(optim.schedules.cosine(3e-3, steps), 20)
    step = nn.TrainStep(
        model,
        lambda logits, ordered: nn.losses.cross_entropy(logits[:, LENGTH:], ordered),
        optim.AdamW(schedule, clip_norm=1.0),
    )
    for number in range(steps):
        _, tokens, ordered = lists(batch, number)
        (loss,) = step(tokens, ordered)
        if number in (0, steps // 4, steps - 1):
            print(f"step {number + 1:4}: loss {loss:.4f}")
    digits, _, ordered = lists(200, steps)
    model.eval()
    values = model.state_dict()
    found = sort(tj.jit(lambda tokens: nn.functional_call(model, values, tokens)), digits)
    print(f"{np.mean((found == ordered).all(axis=1)):.1%} of 200 new lists sorted")
    print(f"{digits[0]} -> {found[0]}")


if __name__ == "__main__":
    main()
