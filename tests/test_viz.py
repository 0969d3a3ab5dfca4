"""Event files, read back with TensorBoard's own reader; the page itself, where a browser is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

import tracejit as tj
import tracejit.graph as tf
from tracejit import nn, optim, viz

pytest.importorskip("tensorboardX")


@pytest.fixture
def read():
    """Reads all events of a folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def load(folder):
        found = accumulator.EventAccumulator(str(folder), size_guidance={"histograms": 0, "images": 0})
        found.Reload()
        return found

    return load


def definition(events):
    """The graph in an event file."""
    graph_pb2 = pytest.importorskip("tensorboard.compat.proto.graph_pb2")
    return graph_pb2.GraphDef.FromString(events.Graph().SerializeToString())


def model():
    tj.random.seed(0)
    return nn.Sequential(nn.Linear(3, 4, activation="relu"), nn.Linear(4, 2))


X = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(np.int64)


def test_scalars_histograms_text_images_and_hparams(tmp_path, read):
    with viz.SummaryWriter(tmp_path) as writer:
        for step in range(3):
            writer.add_scalar("loss", 1.0 / (step + 1), step)
        writer.add_histogram("weights", np.arange(10.0), 0)
        writer.add_text("note", "what was tried", 0)
        writer.add_image("picture", np.zeros((3, 4, 5), np.uint8), 0)
        writer.add_hparams({"rate": 0.1}, {"accuracy": 0.9}, name="run")
    events = read(tmp_path)
    assert [event.value for event in events.Scalars("loss")] == [1.0, 0.5, pytest.approx(1 / 3)]
    assert events.Histograms("weights")[0].histogram_value.num == 10
    picture = events.Images("picture")[0]
    assert (picture.width, picture.height) == (5, 4)
    assert any("note" in tag for tag in events.Tags()["tensors"])
    assert read(tmp_path / "run").Scalars("accuracy")[0].value == pytest.approx(0.9)


def test_the_graph_of_a_model(tmp_path, read):
    with viz.SummaryWriter(tmp_path) as writer:
        writer.add_graph(model(), X)
    nodes = {node.name: node for node in definition(read(tmp_path)).node}
    product = nodes["layers/0/matmul"]
    assert set(product.input) == {"input", "layers/0/weight/read"}
    shape = [d.size for d in product.attr["_output_shapes"].list.shape[0].dim]
    assert shape == [40, 4]
    for node in nodes.values():
        for source in node.input:
            assert source.lstrip("^") in nodes


def test_the_graph_of_a_function_and_of_a_session(tmp_path, read):
    def f(x):
        return np.sum(np.sin(x) * 2)

    with viz.SummaryWriter(tmp_path / "function") as writer:
        writer.add_graph(tj.jit(f), X)
    with viz.SummaryWriter(tmp_path / "plain") as writer:
        writer.add_graph(f, X)
    for folder in ("function", "plain"):
        assert {"sin", "multiply", "sum", "output"} <= {n.op for n in definition(read(tmp_path / folder)).node}
    with tf.Graph().as_default() as graph, tf.name_scope("layer"):
        x = tf.placeholder(tf.float32, (None, 3), name="x")
        with tf.control_dependencies([x]):
            np.sin(x)
    with viz.SummaryWriter(tmp_path / "session") as writer:
        writer.add_graph(graph)
        with pytest.raises(TypeError, match="a model or a function with its inputs, or a graph, not int"):
            writer.add_graph(3)
    nodes = {node.name: node for node in definition(read(tmp_path / "session")).node}
    assert list(nodes["layer/sin"].input) == ["layer/x", "^layer/x"]
    assert [d.size for d in nodes["layer/x"].attr["_output_shapes"].list.shape[0].dim] == [-1, 3]


def test_callback(tmp_path, read):
    net = model()
    net.compile(optim.Adam(0.01), "cross_entropy", ["accuracy"])
    board = viz.TensorBoard(tmp_path, histogram_freq=1, example=X)
    history = net.fit(X, Y, epochs=2, validation_split=0.25, callbacks=[board], verbose=False)
    events = read(tmp_path)
    for tag, name in (("loss/train", "loss"), ("loss/validation", "val_loss"), ("accuracy/train", "accuracy")):
        assert [e.value for e in events.Scalars(tag)] == pytest.approx(history.history[name])
    assert len(events.Histograms("layers/0/weight")) == 2
    assert definition(events).node


def test_model_graph_runs_in_a_session():
    net = model()
    graph = tj.graph.model_graph(net, X)
    session = tf.Session(graph)
    with graph.as_default():
        session.run(tf.global_variables_initializer())
    np.testing.assert_array_equal(session.run(graph.outputs, {graph.inputs[0]: X}), net.predict(X))


@pytest.mark.slow
def test_the_page(tmp_path):
    """TensorBoard's page in a browser without a window: a picture of some size and many colours."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("chromium is not installed")
    pytest.importorskip("tensorboard")
    image = pytest.importorskip("PIL.Image")
    net = model()
    net.compile(optim.Adam(0.01), "cross_entropy")
    net.fit(X, Y, epochs=5, callbacks=[viz.TensorBoard(tmp_path / "logs", example=X)], verbose=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--logdir", str(tmp_path / "logs"), "--host", "127.0.0.1", "--port", str(port), "--load_fast=false"]
    command = [sys.executable, "-m", "tensorboard.main", *where]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}/data/runs")
        picture = tmp_path / "page.png"
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"),
                *("--virtual-time-budget=20000", f"--screenshot={picture}", f"http://127.0.0.1:{port}/#graphs"),
            ],
            check=True,
            timeout=120,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        shown = image.open(picture).convert("RGB")
        assert shown.size == (1200, 900)
        assert len(np.unique(np.asarray(shown).reshape(-1, 3), axis=0)) > 20
    finally:
        server.terminate()
        server.wait()


def _wait(address):
    for _ in range(100):
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"nobody answers at {address}")
