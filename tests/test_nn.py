"""Modules, layers, losses, training steps, Keras-style models, data; against PyTorch where it is installed."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tracejit as tj
from tests.native_calls import NATIVE
from tracejit import nn, optim
from tracejit.data import DataLoader
from tracejit.driver import function as function_module

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded():
    tj.random.seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 1)
        self.scale = 1.0

    def forward(self, x):
        return self.last(np.tanh(self.first(x))) * self.scale

    def rescale(self, scale):
        self.scale = scale


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.a(x) if np.sum(x) > 0 else self.b(x)


def inputs(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


# ---- modules


def test_names_and_values():
    net = Net()
    names = ["first.weight", "first.bias", "last.weight", "last.bias"]
    assert [name for name, _ in net.named_parameters()] == names
    assert list(net.state_dict()) == names
    assert [name for name, _ in net.named_modules()] == ["", "first", "last"]
    assert repr(net) == "Net(\n  (first): Linear(4, 3)\n  (last): Linear(3, 1)\n)"
    state = {name: np.full(value.shape, 2.0) for name, value in net.state_dict().items()}
    net.load_state_dict(state)
    np.testing.assert_array_equal(net.first.weight, np.full((4, 3), 2.0))
    with pytest.raises(KeyError, match=r"does not fit Net: it has no first.bias and has more"):
        net.load_state_dict({**{k: v for k, v in state.items() if k != "first.bias"}, "more": 1.0})
    with pytest.raises(ValueError, match=r"first.bias has shape \(3,\), and the state has \(4,\)"):
        net.load_state_dict({**state, "first.bias": np.zeros(4)})


def test_attributes():
    net = Net()
    with pytest.raises(AttributeError, match="Net has no attribute 'missing'"):
        _ = net.missing
    net.first = nn.Linear(4, 3, bias=False)
    assert [name for name, _ in net.named_parameters()] == ["first.weight", "last.weight", "last.bias"]
    del net.last
    assert [name for name, _ in net.named_modules()] == ["", "first"]

    class Forgetful(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"must call super\(\).__init__\(\) before it sets 'layer'"):
        Forgetful()
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(1)
    with pytest.raises(TypeError, match="a parameter is an array of floats"):
        nn.Parameter([1, 2])
    with pytest.raises(ValueError, match=r"Linear\(4, 3\) takes inputs of 4 features, and got an array of shape"):
        Net()(inputs(2, 5))


def test_eager_gradients_and_compiled_ones_agree():
    net = Net()
    x, y = inputs(8, 4), inputs(8, 1)
    loss = nn.losses.mean_squared_error(net(x), y)
    loss.backward()
    values = net.state_dict()
    gradient = tj.jit(tj.grad(lambda v: nn.losses.mean_squared_error(nn.functional_call(net, v, x), y)))(values)
    for name, parameter in net.named_parameters():
        np.testing.assert_allclose(parameter.array.grad, gradient[name], rtol=1e-5, atol=1e-7)
    net.zero_grad()
    assert net.first.weight.grad is None
    with tj.GradientTape() as tape:
        loss = nn.losses.mean_squared_error(net(x), y)
    for mine, name in zip(tape.gradient(loss, net.trainable_weights), values, strict=True):
        np.testing.assert_allclose(mine, gradient[name], rtol=1e-5, atol=1e-7)
    with pytest.raises(KeyError, match="Net has no parameter or buffer nothing"):
        nn.functional_call(net, {"nothing": 1.0}, x)


def test_jit_sees_changes_of_a_model():
    net = Net()
    x = inputs(5, 4)
    f = tj.jit(lambda x: net(x))
    np.testing.assert_allclose(f(x), net(x), rtol=1e-6)
    assert f.stats.plain_calls == 0
    with tj.no_grad():
        net.first.weight[...] = 0.0  # eager code writes
    np.testing.assert_allclose(f(x), np.broadcast_to(np.asarray(net.last.bias), (5, 1)), atol=1e-7)
    net.rescale(3.0)  # an attribute of the user's own class
    with tj.no_grad():
        net.last.bias[...] = 2.0
    np.testing.assert_allclose(f(x), np.full((5, 1), 6.0), rtol=1e-6)
    net.last = nn.Linear(3, 2)
    assert f(x).shape == (5, 2)


def test_control_flow_on_data():
    net = Branching()
    f = tj.jit(lambda x: net(x))
    for x in (inputs(3, 2) + 5, inputs(3, 2) - 5):
        expected = (net.a if x.sum() > 0 else net.b)(x)
        np.testing.assert_allclose(f(x), expected, rtol=1e-5)


def test_a_forward_with_side_effects_runs_as_it_is():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x * 2

    net = Counting()
    f = tj.jit(lambda x: net(x))
    for n in range(1, 4):
        np.testing.assert_array_equal(f(np.ones(3)), 2)
        assert net.calls == n


def test_hooks():
    net, seen = Net(), []
    remove = net.first.register_forward_hook(lambda module, inputs, result: seen.append(result.shape))
    before = net.register_forward_pre_hook(lambda module, inputs: inputs[0] * 0)
    np.testing.assert_allclose(np.asarray(net(inputs(2, 4))), np.asarray(net(np.zeros((2, 4), np.float32))))
    assert seen == [(2, 3)] * 2
    remove()
    before()
    net(inputs(2, 4))
    assert len(seen) == 2


def test_freezing():
    net = Net()
    net.first.requires_grad_(False)
    kept = net.first.weight.numpy().copy()
    step = nn.TrainStep(net, "mse", optim.SGD(0.1))
    step(inputs(8, 4), inputs(8, 1))
    np.testing.assert_array_equal(net.first.weight, kept)
    assert len(net.trainable_weights) == 2


def test_shared_layers():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 3)
            self.two = self.one

        def forward(self, x):
            return self.two(self.one(x))

    net = Twice()
    assert [name for name, _ in net.named_parameters()] == ["one.weight", "one.bias"]
    assert nn.TrainStep(net, "mse", optim.SGD(0.1))(inputs(4, 3), inputs(4, 3))[0] > 0


# ---- layers against PyTorch


def torch_tensor(torch, value):
    return torch.tensor(np.asarray(value))


def test_layernorm_and_batchnorm():
    torch = pytest.importorskip("torch")
    x = inputs(6, 5)
    theirs = torch.nn.functional.layer_norm(torch_tensor(torch, x), (5,))
    np.testing.assert_allclose(nn.LayerNorm(5)(x), theirs, rtol=1e-5, atol=1e-6)
    for shape in ((6, 5), (6, 5, 4), (6, 5, 3, 2)):
        x, mine, other = inputs(*shape), nn.BatchNorm(5), torch.nn.functional.batch_norm
        mean, variance = torch.zeros(5), torch.ones(5)
        for _ in range(2):
            theirs = other(torch_tensor(torch, x), mean, variance, training=True)
            np.testing.assert_allclose(mine(x), theirs, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mine.running_mean, mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(mine.running_variance, variance, rtol=1e-5)
        theirs = other(torch_tensor(torch, x), mean, variance, training=False)
        np.testing.assert_allclose(mine.eval()(x), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["relu", "elu", "silu", "gelu", "sigmoid", "softplus", "tanh", "leaky_relu"])
def test_activations(name):
    torch = pytest.importorskip("torch")
    x = inputs(50)
    theirs = getattr(torch.nn.functional, name)(torch_tensor(torch, x))
    np.testing.assert_allclose(nn.functional.activation(name)(x), theirs, rtol=1e-5, atol=1e-6)


def test_losses():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    logits, labels = inputs(7, 5), RNG.integers(0, 5, 7)
    x, y = torch_tensor(torch, logits), torch_tensor(torch, labels)
    soft = np.asarray(nn.functional.softmax(inputs(7, 5)))
    pairs = [
        (nn.losses.cross_entropy(logits, labels), functional.cross_entropy(x, y)),
        (nn.losses.cross_entropy(logits, soft), functional.cross_entropy(x, torch_tensor(torch, soft))),
        (nn.losses.mean_squared_error(logits, soft), functional.mse_loss(x, torch_tensor(torch, soft))),
        (nn.losses.mean_absolute_error(logits, soft), functional.l1_loss(x, torch_tensor(torch, soft))),
        (nn.losses.huber(logits, soft, 0.5), functional.huber_loss(x, torch_tensor(torch, soft), delta=0.5)),
        (
            nn.losses.binary_cross_entropy(logits, soft),
            functional.binary_cross_entropy_with_logits(x, torch_tensor(torch, soft)),
        ),
    ]
    for mine, theirs in pairs:
        np.testing.assert_allclose(float(mine), float(theirs), rtol=1e-5)
    large = np.array([[1e4, -1e4]], np.float32)
    assert np.isfinite(nn.losses.cross_entropy(large, np.array([1])))
    with pytest.raises(ValueError, match="or they would be broadcast"):
        nn.losses.mean_squared_error(inputs(3, 1), inputs(3))
    with pytest.raises(ValueError, match="no loss is called 'mss'; there are mse"):
        nn.losses.loss("mss")


def test_metrics():
    logits, labels = np.eye(4, 6), np.array([0, 1, 2, 5])
    assert nn.metrics.accuracy(logits, labels) == 0.75
    assert nn.metrics.accuracy(logits, np.eye(6)[labels]) == 0.75
    assert nn.metrics.binary_accuracy(np.array([1.0, -1.0]), np.array([1.0, 1.0])) == 0.5
    assert nn.metrics.top_5_accuracy(np.arange(12.0).reshape(2, 6), np.array([0, 1])) == 0.5


def test_dropout():
    layer = nn.Dropout(0.25)
    x = np.ones((200, 100), np.float32)
    dropped = np.asarray(layer(x))
    assert abs((dropped == 0).mean() - 0.25) < 0.02
    np.testing.assert_allclose(dropped[dropped != 0], 1 / 0.75, rtol=1e-6)
    np.testing.assert_array_equal(layer.eval()(x), x)
    layer.train()
    f = tj.jit(lambda x, key: nn.functional_call(layer, {}, x, key=key))
    one, two = (f(x, tj.random.key(n)) for n in (1, 2))
    assert (one != two).any()
    np.testing.assert_array_equal(one, f(x, tj.random.key(1)))
    with pytest.raises(RuntimeError, match="pass it a key"):
        tj.jit(lambda x: layer(x))(x)
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        nn.Dropout(1.0)


def test_embedding_and_attention():
    torch = pytest.importorskip("torch")
    layer = nn.Embedding(10, 4)
    indices = np.array([[1, 2, 1], [0, 9, 3]])
    np.testing.assert_array_equal(layer(indices), np.asarray(layer.weight)[indices])
    np.sum(layer(indices) * 2.0).backward()
    assert layer.weight.grad[1, 0] == 4
    q, k, v = inputs(2, 3, 4), inputs(2, 5, 4), inputs(2, 5, 4)
    mask = RNG.random((2, 3, 5)) > 0.3
    theirs = torch.nn.functional.scaled_dot_product_attention(
        *(torch_tensor(torch, a) for a in (q, k, v)), attn_mask=torch_tensor(torch, mask)
    )
    np.testing.assert_allclose(nn.functional.attention(q, k, v, mask), theirs, rtol=1e-4, atol=1e-5)


def test_convolutions_and_pooling():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = inputs(2, 4, 9, 8)
    mine = nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2, activation="relu")
    mine.load_state_dict({"bias": inputs(6)}, strict=False)
    weight, bias = torch_tensor(torch, mine.weight), torch_tensor(torch, mine.bias)
    theirs = functional.conv2d(torch_tensor(torch, x), weight, bias, stride=2, padding=1, groups=2).relu()
    np.testing.assert_allclose(mine(x), theirs, rtol=1e-4, atol=1e-5)
    line = nn.Conv1d(4, 3, 5, padding="same")
    theirs = functional.conv1d(torch_tensor(torch, x[..., 0]), torch_tensor(torch, line.weight), padding=2)
    np.testing.assert_allclose(line(x[..., 0]), theirs, rtol=1e-4, atol=1e-5)
    pairs = [
        (nn.MaxPool2d(2), functional.max_pool2d(torch_tensor(torch, x), 2)),
        (nn.AvgPool2d(3, stride=2), functional.avg_pool2d(torch_tensor(torch, x), 3, 2)),
        (nn.MaxPool1d(2), None),
        (nn.AvgPool1d(2), None),
    ]
    for layer, expected in pairs[:2]:
        np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    for layer, _ in pairs[2:]:
        assert layer(x[..., 0]).shape == (2, 4, 4)
    with pytest.raises(ValueError, match="4 channels and 6 outputs do not fall into 4 groups"):
        nn.Conv2d(4, 6, 3, groups=4)
    with pytest.raises(ValueError, match=r"Conv2d has a kernel of 2 axes, and \(3,\) has 1"):
        nn.Conv2d(4, 6, (3,))


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers(name):
    torch = pytest.importorskip("torch")
    mine, theirs = getattr(nn, name)(3, 5), getattr(torch.nn, name)(3, 5, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(torch_tensor(torch, mine.weight).T)
        theirs.weight_hh_l0.copy_(torch_tensor(torch, mine.recurrent).T)
        theirs.bias_ih_l0.copy_(torch_tensor(torch, mine.bias))
        theirs.bias_hh_l0.zero_()
        if name == "GRU":
            mine.load_state_dict({"recurrent_bias": inputs(5)}, strict=False)
            theirs.bias_hh_l0[10:] = torch_tensor(torch, mine.recurrent_bias)
    x = inputs(2, 7, 3)
    expected, last = theirs(torch_tensor(torch, x))
    states, final = mine(x)
    np.testing.assert_allclose(states, expected.detach(), rtol=1e-4, atol=1e-6)
    several = name == "LSTM"
    for a, b in zip(final if several else [final], last if several else [last], strict=True):
        np.testing.assert_allclose(a, b[0].detach(), rtol=1e-4, atol=1e-6)
    expected.square().sum().backward()
    values = mine.state_dict()
    gradient = tj.jit(tj.grad(lambda v: np.sum(np.square(nn.functional_call(mine, v, x)[0]))))(values)
    np.testing.assert_allclose(gradient["recurrent"], theirs.weight_hh_l0.grad.T, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(gradient["weight"], theirs.weight_ih_l0.grad.T, rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match=r"takes \(batch, time, inputs\)"):
        mine(inputs(3, 3))


def test_multi_head_attention():
    torch = pytest.importorskip("torch")
    mine, theirs = nn.MultiHeadAttention(8, 2), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        parts = [mine.query, mine.key, mine.value]
        theirs.in_proj_weight.copy_(torch.cat([torch_tensor(torch, p.weight).T for p in parts]))
        theirs.in_proj_bias.zero_()
        theirs.out_proj.weight.copy_(torch_tensor(torch, mine.result.weight).T)
        theirs.out_proj.bias.zero_()
    x, context = inputs(3, 5, 8), inputs(3, 4, 8)
    expected = theirs(*(torch_tensor(torch, a) for a in (x, context, context)))[0]
    np.testing.assert_allclose(mine(x, context), expected.detach(), rtol=1e-4, atol=1e-6)
    causal = nn.MultiHeadAttention(8, 2, causal=True)
    cut = np.array(x)
    cut[:, 3:] = 0
    np.testing.assert_allclose(causal(x)[:, :3], causal(cut)[:, :3], rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="8 features cannot be shared out among 3 heads"):
        nn.MultiHeadAttention(8, 3)
    block = nn.TransformerBlock(8, 2, dropout=0.1, causal=True)
    step = nn.TrainStep(block, "mse", optim.Adam(0.01))
    losses = [float(step(x, x * 0)[0]) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    assert step._compiled.stats.plain_calls == 0


@pytest.mark.parametrize("name", ["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "fan_in_uniform"])
def test_initializers(name):
    weight = getattr(nn.initializers, name)(tj.random.key(0), (300, 200), np.float32)
    variances = {"glorot": 2 / 500, "he": 2 / 300, "fan": 1 / 900}
    assert weight.dtype == np.float32
    np.testing.assert_allclose(weight.var(), variances[name.split("_")[0]], rtol=0.05)
    assert nn.initializers.fans((8, 3, 5, 5)) == (75, 200)
    rotation = nn.initializers.orthogonal(tj.random.key(0), (4, 6), np.float64)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(4), atol=1e-12)


# ---- training


def test_a_step_is_that_of_torch():
    torch = pytest.importorskip("torch")
    net = nn.Sequential(nn.Linear(4, 8, activation="relu"), nn.Linear(8, 3))
    other = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    with torch.no_grad():
        for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
            theirs.copy_(torch_tensor(torch, mine.memory.T))
    step = nn.TrainStep(net, "cross_entropy", optim.Adam(0.01), ["accuracy"])
    optimizer = torch.optim.Adam(other.parameters(), 0.01)
    x, y = inputs(32, 4), RNG.integers(0, 3, 32)
    for _ in range(20):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(other(torch_tensor(torch, x)), torch_tensor(torch, y))
        loss.backward()
        optimizer.step()
        mine, _ = step(x, y)
        np.testing.assert_allclose(mine, loss.item(), rtol=1e-4)
    assert step._compiled.stats.traces == 1
    assert step._compiled.stats.plain_calls == 0


def test_loss_curves_of_eager_and_compiled_training_agree():
    x, y = inputs(64, 4), inputs(64, 1)
    rule = optim.SGD(0.05, momentum=0.9)
    curves = []
    for way in ("compiled", "eager"):
        tj.random.seed(7)
        net = Net()
        step = nn.TrainStep(net, "mse", rule)
        velocity = None
        curve = []
        for _ in range(100):
            if way == "compiled":
                curve.append(float(step(x, y)[0]))
                continue
            loss = nn.losses.mean_squared_error(net(x), y)
            loss.backward()
            gradients = [np.asarray(p.array.grad) for p in net.parameters()]
            values = [p.memory.copy() for p in net.parameters()]
            velocity = rule.init(values) if velocity is None else velocity
            new, velocity = rule.update(gradients, velocity, values)
            for parameter, value in zip(net.parameters(), new, strict=True):
                parameter.assign(value)
            net.zero_grad()
            curve.append(float(loss))
        curves.append(curve)
    np.testing.assert_allclose(*curves, atol=1e-6)
    np.testing.assert_allclose(_curve_in_graph_mode(x, y), curves[0], atol=1e-6)


def _curve_in_graph_mode(x, y):
    tj.random.seed(7)
    graph = tj.graph.model_graph(Net(), x)
    with graph.as_default(), tj.graph.Session() as session:
        wanted = tj.graph.placeholder(np.float32, y.shape)
        loss = tj.graph.reduce_mean(tj.graph.square(graph.outputs - wanted))
        train = tj.graph.train.MomentumOptimizer(0.05, 0.9).minimize(loss)
        session.run(tj.graph.global_variables_initializer())
        return [float(session.run([loss, train], {graph.inputs[0]: x, wanted: y})[0]) for _ in range(100)]


def test_batchnorm_and_dropout_in_a_compiled_step():
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))
    step = nn.TrainStep(net, "mse", optim.Adam(0.05))
    x = inputs(128, 4)
    y = x[:, :1] * 2
    first = float(step(x, y)[0])
    for _ in range(100):
        step(x, y)
    assert float(step.evaluate(x, y)[0]) < 0.2 * first
    assert np.abs(net[1].running_mean.numpy()).max() > 0
    np.testing.assert_allclose(net.eval()(x), net.predict(x), rtol=1e-4, atol=1e-5)


def test_exact_resume(tmp_path):
    pytest.importorskip("safetensors")
    x, y = inputs(64, 4), inputs(64, 1)

    def fresh():
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm(8), nn.Dropout(0.3), nn.Linear(8, 1))
        net.compile(optim.Adam(0.01), "mse")
        return net

    net = fresh()
    for _ in range(5):
        net.train_on_batch(x, y)
    net.save_training(tmp_path / "state")
    onward = [net.train_on_batch(x, y) for _ in range(5)]
    other = fresh()
    other.load_training(tmp_path / "state")
    assert [other.train_on_batch(x, y) for _ in range(5)] == onward


def test_dense_layers_learn_their_inputs():
    model = nn.Sequential()
    model.add(nn.Dense(3, activation="sigmoid"))
    model.add(nn.Dropout(0.5))
    model.add(nn.Dense(1))
    with pytest.raises(RuntimeError, match="layers without parameters yet"):
        model.summary()
    with pytest.raises(RuntimeError, match="does not know yet how many inputs"):
        tj.jit(model)(inputs(2, 4))
    model.compile("sgd", "mse")
    model.train_on_batch(inputs(2, 4), np.zeros((2, 1), np.float32))
    assert [p.shape for p in model.parameters()] == [(4, 3), (3,), (3, 1), (1,)]
    assert model.layers[1].training
    known = nn.Sequential([nn.Dense(3, input_dim=4), nn.ReLU(), nn.Dense(1, dtype=np.float64)])
    assert [p.dtype.char for p in known.parameters()] == ["f", "f", "d", "d"]
    assert "19 parameters" in known.summary(show=False)
    with pytest.raises(ValueError, match=r"takes inputs of 4 features, and got an array of shape \(2, 5\)"):
        known.predict(inputs(2, 5))
    for wrong in (0, -1, "relu"):
        with pytest.raises(ValueError, match="at least one output"):
            nn.Dense(wrong)


def test_predict_makes_what_is_missing():
    model = nn.Sequential([nn.Dense(3), nn.Dense(2)])
    x = inputs(5, 4)
    first = model.predict(x)
    assert first.shape == (5, 2)
    np.testing.assert_allclose(first, np.asarray(model(x)), rtol=1e-6)


def test_fit_evaluate_predict(capsys):
    x = inputs(300, 2)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    model = nn.Sequential([nn.Dense(16, activation="tanh"), nn.Dense(2)])
    model.compile(optim.Adam(0.02), "sparse_categorical_crossentropy", ["accuracy"])
    history = model.fit(x, y, batch_size=32, epochs=40, validation_split=0.2, verbose=False)
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert len(history.history["loss"]) == 40
    assert history.history["val_accuracy"][-1] > 0.9
    assert model.evaluate(x, y)["accuracy"] > 0.9
    assert model.predict(x).shape == (300, 2)
    assert "82 parameters, 82 of them trained" in model.summary()
    assert capsys.readouterr().out.startswith("layer ")
    assert isinstance(model.train_on_batch(x[:5], y[:5]), list)
    again = model.fit(DataLoader(x, y, batch_size=50), epochs=1, verbose=False)
    assert list(again.history) == ["loss", "accuracy"]


def test_modes_and_copies_trace_nothing_anew():
    x, y = inputs(64, 4), inputs(64, 1)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm(8), nn.Dropout(0.3), nn.Linear(8, 1))
    net.compile(optim.Adam(0.01), "mse")
    net.fit(x, y, epochs=5, validation_data=(x, y), verbose=False)
    assert net.step._compiled.stats.traces == net.step._evaluation.stats.traces == 1
    apply = tj.jit(lambda module, x: nn.functional_call(module, {}, x, key=np.array([0, 1], np.uint32)))
    other = copy.deepcopy(net.layers[2])
    kept = apply(net.layers[2].eval(), x)
    other.train()
    np.testing.assert_array_equal(kept, x)
    assert (apply(other, x) != x).any()
    other.eval()
    net.layers[2].train()
    assert (apply(net.layers[2], x) != x).any()
    np.testing.assert_array_equal(apply(other, x), x)


def test_a_hot_step_does_what_the_first_ones_did(monkeypatch):
    x, y = inputs(32, 6), (inputs(32) > 0).astype(np.int64)

    def losses(hot):
        monkeypatch.setattr(function_module, "HOT_CALLS", hot)
        tj.random.seed(3)
        net = nn.Sequential(nn.Linear(6, 8, activation="relu"), nn.LayerNorm(8), nn.Dropout(0.2), nn.Linear(8, 2))
        step = nn.TrainStep(net, "cross_entropy", optim.Adam(0.02), ["accuracy"], seed=5)
        found = [tuple(map(float, step(x, y))) for _ in range(30)]
        return found, step.explain(x, y).native, net.state_dict()

    (warm, _, weights), (hot, native, same_weights) = losses(10**9), losses(2)
    assert warm == hot and native == ("yes" if NATIVE else native)
    for name, value in weights.items():
        np.testing.assert_array_equal(value, same_weights[name])


def test_fit_is_repeatable():
    x, y = inputs(50, 4), inputs(50, 1)
    losses = []
    for _ in range(2):
        tj.random.seed(3)
        model = nn.Sequential(nn.Linear(4, 1))
        model.compile("sgd", "mse")
        losses.append(model.fit(x, y, epochs=3, verbose=False).history["loss"])
    assert losses[0] == losses[1]


def test_progress_bar(capsys):
    pytest.importorskip("tqdm")
    model = nn.Sequential(nn.Linear(4, 1))
    model.compile("sgd", "mse")
    model.fit(inputs(64, 4), inputs(64, 1), epochs=1)
    shown = capsys.readouterr().err
    assert "epoch 1/1" in shown
    assert "loss=" in shown


def test_callbacks(tmp_path):
    pytest.importorskip("safetensors")

    class Worse(nn.callbacks.Callback):
        """Spoils the model from the second epoch on."""

        def on_epoch_begin(self, epoch):
            if epoch:
                self.model.parameters()[0].assign(np.full((4, 1), 50.0 * epoch))

    x, y = inputs(64, 4), inputs(64, 1)
    model = nn.Sequential(nn.Linear(4, 1))
    model.compile(optim.SGD(1e-6), "mse")
    stopping = nn.callbacks.EarlyStopping("loss", patience=2)
    kept = nn.callbacks.ModelCheckpoint(tmp_path / "best", "loss", best_only=True)
    each = nn.callbacks.ModelCheckpoint(tmp_path / "epoch{epoch}", "loss")
    history = model.fit(x, y, epochs=20, callbacks=[Worse(), stopping, kept, each], verbose=False)
    assert len(history.history["loss"]) == 3
    assert np.abs(model.layers[0].weight.numpy()).max() < 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "epoch0", "epoch1", "epoch2"]
    other = nn.Sequential(nn.Linear(4, 1))
    other.load_weights(tmp_path / "best")
    np.testing.assert_array_equal(other.layers[0].weight, model.layers[0].weight)
    with pytest.raises(KeyError, match="EarlyStopping watches 'val_loss', and there are loss"):
        model.fit(x, y, callbacks=[nn.callbacks.EarlyStopping()], verbose=False)


@pytest.mark.parametrize(
    ("act", "error", "text"),
    [
        (lambda m, x: m.fit(x, x), RuntimeError, "call model.compile"),
        (lambda m, x: m.compile("adem", "mse"), ValueError, "no optimizer is called 'adem'; there are sgd"),
        (lambda m, x: m.compile("sgd", "mse", ["exactness"]), ValueError, "no metric is called 'exactness'"),
        (lambda m, x: (m.compile(), m.fit(x)), ValueError, "targets are missing"),
        (lambda m, x: (m.compile(), m.fit(x, x[:3])), ValueError, "different lengths: 8, 3"),
        (lambda m, x: (m.compile(), m.fit(x, x, validation_split=2.0)), ValueError, "a share between 0 and 1"),
        (lambda m, x: nn.Linear(0, 3), ValueError, "at least one input"),
        (lambda m, x: nn.Linear(1, 3, activation="rely"), ValueError, "no activation is called 'rely'"),
    ],
)
def test_errors(act, error, text):
    with pytest.raises(error, match=text):
        act(nn.Sequential(nn.Linear(4, 1)), inputs(8, 4))


# ---- data


def test_data_loader():
    x, y = np.arange(10), np.arange(10) * 2
    loader = DataLoader(x, y, batch_size=4, shuffle=True, seed=1)
    epochs = [list(loader) for _ in range(2)]
    assert [len(batch[0]) for batch in epochs[0]] == [4, 4, 2]
    orders = [np.concatenate([b[0] for b in epoch]) for epoch in epochs]
    assert sorted(orders[0]) == list(range(10))
    assert list(orders[0]) != list(orders[1])
    for batch in epochs[0]:
        np.testing.assert_array_equal(batch[0] * 2, batch[1])
    assert len(DataLoader(x, batch_size=4, drop_last=True)) == 2
    examples = [(np.ones(3) * n, n) for n in range(5)]
    first, second = next(iter(DataLoader(examples, batch_size=2)))
    assert first.shape == (2, 3)
    np.testing.assert_array_equal(second, [0, 1])


def test_data_loader_passes_errors_on_and_can_be_left():
    class Broken:
        def __len__(self):
            return 4

        def __getitem__(self, row):
            if row > 1:
                raise OSError("the disk is gone")
            return np.zeros(1)

    with pytest.raises(OSError, match="the disk is gone"):
        list(DataLoader(Broken(), batch_size=1))
    for batch in DataLoader(np.arange(1000), batch_size=1):
        assert batch[0] == 0
        break
    with pytest.raises(ValueError, match="different lengths: 2, 3"):
        DataLoader(np.zeros(2), np.zeros(3))
