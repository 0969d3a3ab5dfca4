"""Graph mode: building, running, errors, control flow, derivatives, optimizers; and the snippets of TensorFlow 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import tracejit as tj
import tracejit.graph as tf


@pytest.fixture(autouse=True)
def graph() -> Iterator[tf.Graph]:
    with tf.Graph().as_default() as made:
        yield made


def started() -> tf.Session:
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session


# ---- the snippets


def test_product_of_constants():
    a = tf.constant(5.0)
    b = tf.constant(6.0)
    c = a * b
    sess = tf.Session()
    output_c = sess.run(c)
    assert output_c == 30.0
    sess.close()
    with pytest.raises(RuntimeError, match="closed"):
        sess.run(c)


def test_product_of_placeholders():
    a = tf.placeholder(tf.float32)
    b = tf.placeholder(tf.float32)
    mul = a * b
    sess = tf.Session()
    output = sess.run(mul, {a: [1, 3], b: [2, 4]})
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, [2, 12])


def test_linear_regression():
    W = tf.Variable([0.4], tf.float32)
    b = tf.Variable([-0.4], tf.float32)
    x = tf.placeholder(tf.float32)
    linear_model = W * x + b
    sess = tf.Session()
    init = tf.global_variables_initializer()
    sess.run(init)
    first = sess.run(linear_model, {x: [1, 2, 3, 4]})
    np.testing.assert_array_equal(first, np.array([0.0, 0.40000001, 0.80000007, 1.20000005], np.float32))
    y = tf.placeholder(tf.float32)
    error = linear_model - y
    squared_errors = tf.square(error)
    loss = tf.reduce_sum(squared_errors)
    assert sess.run(loss, {x: [1, 2, 3, 4], y: [2, 4, 6, 8]}) == np.float32(90.24)
    optimizer = tf.train.GradientDescentOptimizer(0.01)
    train = optimizer.minimize(loss)
    sess.run(tf.global_variables_initializer())
    for _ in range(1000):
        assert sess.run(train, {x: [1, 2, 3, 4], y: [2, 4, 6, 8]}) is None
    slope, offset = sess.run([W, b])
    np.testing.assert_array_equal(slope, np.array([1.99999964], np.float32))
    np.testing.assert_allclose(offset, [9.86305167e-07], rtol=1e-6)


def perceptron():
    """The network of the article: four inputs, three hidden neurons, one output."""
    rng = np.random.default_rng(0)
    X_data = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
    y_data = np.array([[1.0], [1.0], [0.0]])
    values = [rng.standard_normal(shape) for shape in ((3, 4), (3, 1), (1, 3), (1, 1))]
    return X_data, y_data, values


def by_hand(X_data, y_data, values, steps):
    W_h, b_h, W_o, b_o = (v.copy() for v in values)
    for _ in range(steps):
        h = 1 / (1 + np.exp(-(W_h @ X_data.T + b_h)))
        out = 1 / (1 + np.exp(-(W_o @ h + b_o)))
        d_out = 2 * (out - y_data.T) * out * (1 - out)
        d_h = (W_o.T @ d_out) * h * (1 - h)
        W_o, b_o = W_o - 0.1 * d_out @ h.T, b_o - 0.1 * d_out.sum(axis=1, keepdims=True)
        W_h, b_h = W_h - 0.1 * d_h @ X_data, b_h - 0.1 * d_h.sum(axis=1, keepdims=True)
    return W_h, b_h, W_o, b_o


def test_low_level_training_by_gradients():
    X_data, y_data, values = perceptron()
    W_h, b_h, W_o, b_o = (tf.placeholder(tf.float64, v.shape) for v in values)
    X, Y = tf.placeholder(tf.float64, (4, None)), tf.placeholder(tf.float64, (1, None))
    hidden = tf.sigmoid(tf.matmul(W_h, X) + b_h)
    ypred = tf.sigmoid(tf.matmul(W_o, hidden) + b_o)
    E = tf.reduce_sum(tf.pow(ypred - Y, 2))
    slopes = [tf.gradients(E, [each])[0] for each in (W_h, b_h, W_o, b_o)]
    session = tf.Session()
    now = [v.copy() for v in values]
    for _ in range(50):
        feed = dict(zip((W_h, b_h, W_o, b_o, X, Y), (*now, X_data.T, y_data.T), strict=True))
        now = [v - 0.1 * session.run(slope, feed_dict=feed) for v, slope in zip(now, slopes, strict=True)]
    # each weight sees the gradients at the old ones here, as by hand
    for mine, theirs in zip(now, by_hand(X_data, y_data, values, 50), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10)


def test_medium_level_training_by_compute_and_apply():
    X_data, y_data, values = perceptron()
    W_h, b_h, W_o, b_o = (tf.Variable(v) for v in values)
    X, Y = tf.placeholder(tf.float64, (4, None)), tf.placeholder(tf.float64, (1, None))
    ypred = tf.sigmoid(tf.matmul(W_o, tf.sigmoid(tf.matmul(W_h, X) + b_h)) + b_o)
    E = tf.reduce_sum(tf.pow(ypred - Y, 2))
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    grads = optimizer.compute_gradients(E, [W_h, b_h, W_o, b_o])
    updates = optimizer.apply_gradients(grads)
    session = started()
    for _ in range(50):
        session.run(updates, {X: X_data.T, Y: y_data.T})
    for mine, theirs in zip(session.run([W_h, b_h, W_o, b_o]), by_hand(X_data, y_data, values, 50), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10)


# ---- building


def test_static_types():
    x = tf.placeholder(tf.float32, (None, 3))
    assert (x @ np.ones((3, 5), np.float32)).shape == (None, 5)
    assert np.sum(x, axis=1).shape == (None,)
    assert np.sum(x).shape == ()
    assert x.T.shape == (3, None)
    assert (x > 0).dtype == bool
    assert (x + np.float64(1)).dtype == np.float64
    assert (x * 2).dtype == np.float32
    assert x[:, 0].shape == (None,)
    assert np.stack([x[0], x[1]]).shape == (2, 3)
    assert tf.cast(x, tf.int32).dtype == np.int32
    assert (x + tf.placeholder(tf.float32, (4, 3))).dtype == np.float32
    assert tf.square(tf.placeholder(tf.float64)).shape is None


def test_wrong_shapes_are_refused_where_they_are_written():
    with pytest.raises(tf.GraphError, match=r"(?s)matmul does not take .*test_graph_mode.py:\d+"):
        tf.matmul(tf.zeros((3, 4)), tf.zeros((3, 4)))


def test_names_and_scopes(graph):
    with tf.name_scope("layer"):
        a = tf.constant(1.0, name="a")
        with tf.name_scope("inner"):
            b = tf.constant(1.0, name="a")
    with tf.name_scope("layer"):
        c = tf.constant(1.0, name="a")
    assert [t.name for t in (a, b, c)] == ["layer/a", "layer/inner/a", "layer_1/a"]
    assert graph.get_tensor_by_name("layer/inner/a:0").node is b.node
    with pytest.raises(KeyError, match="no node is called 'nothing'"):
        graph.get_tensor_by_name("nothing")


def test_collections(graph):
    v = tf.Variable(1.0, trainable=False, name="v")
    w = tf.Variable(2.0, name="w")
    assert [x.name for x in tf.global_variables()] == [v.name, w.name]
    assert [x.name for x in tf.trainable_variables()] == ["w"]
    graph.add_to_collection("losses", w)
    assert graph.get_collection("losses")[0] is w


@pytest.mark.parametrize("use", [bool, float, int, np.asarray, lambda t: [1, 2][t]])
def test_a_tensor_has_no_value(use):
    with pytest.raises(tf.GraphError, match="which has no value before a session runs it"):
        use(tf.constant(1.0))


def test_tensors_are_values():
    with pytest.raises(tf.GraphError, match="cannot be written to"):
        tf.zeros((3,))[0] = 1.0
    with pytest.raises(tf.GraphError, match="cannot be written to"):
        np.add(tf.zeros((3,)), 1.0, out=tf.zeros((3,)))


def test_tensors_of_two_graphs():
    a = tf.constant(1.0)
    with tf.Graph().as_default():
        b = tf.constant(1.0)
        with pytest.raises(tf.GraphError, match="belongs to another graph"):
            a + b
        with pytest.raises(tf.GraphError, match="belongs to another graph"):
            tf.Session().run(a)


def test_default_graph():
    before = tf.get_default_graph()
    with tf.Graph().as_default() as other:
        assert tf.get_default_graph() is other
        with pytest.raises(tf.GraphError, match="reset_default_graph"):
            tf.reset_default_graph()
    assert tf.get_default_graph() is before


def test_devices():
    with tf.device("/cpu:0"):
        a = tf.constant(2.0)
    with tf.device("/gpu:0"):
        b = a * 3
    session = tf.Session()
    assert (a.device, b.device) == ("/cpu:0", "/gpu:0")
    assert session.run(a) == 2
    if len(tj.devices()) == 1:
        with pytest.raises(tf.GraphError, match=r'is placed on "/gpu:0", but there is no CUDA device'):
            session.run(b)
    with tf.device("/cpu:0"):
        c = b + 1
    with pytest.raises(tf.GraphError, match=r'"/gpu:0", and call .* on "/cpu:0": a run is on one device'):
        session.run(c)
    with pytest.raises(tf.GraphError, match="no device is called '/tpu:0'"), tf.device("/tpu:0"):
        pass


# ---- running


def test_nested_fetches():
    a, b = tf.constant(1.0), tf.constant([2.0, 3.0])
    found = tf.Session().run({"a": a, "more": (b, [a + 1])})
    assert found["a"] == 1
    np.testing.assert_array_equal(found["more"][0], [2, 3])
    assert found["more"][1] == [2.0]


def test_any_tensor_can_be_fed():
    a = tf.constant(1.0)
    b = a + 1
    c = b * 10
    assert tf.Session().run(c, {b: 5.0}) == 50
    assert tf.Session().run("mul:0", {"add": 7.0}) == 70


def test_feeding_a_variable():
    w = tf.Variable([1.0, 2.0])
    assert tf.Session().run(np.sum(w), {w: [3.0, 4.0]}) == 7


def test_errors_of_feeds():
    x = tf.placeholder(tf.float32, (None, 2), name="x")
    y = np.sum(x)
    session = tf.Session()
    with pytest.raises(
        tf.MissingFeed, match=r"placeholder 'x' \(.*test_graph_mode.py:\d+\) of dtype float32 and shape"
    ):
        session.run(y)
    with pytest.raises(tf.BadFeed, match=r"placeholder 'x' \(.*\) takes shape \(\?, 2\), and was fed one of \(3,\)"):
        session.run(y, {x: [1, 2, 3]})
    with pytest.raises(tf.BadFeed, match="takes float32, and was fed complex128"):
        session.run(y, {x: np.ones((1, 2), complex)})
    with pytest.raises(tf.BadFeed, match="was fed a tensor"):
        session.run(y, {x: y})
    with pytest.raises(TypeError, match="can be fetched, not 3"):
        session.run(3)


def test_an_error_while_running_names_the_node():
    x, y = tf.placeholder(tf.float64), tf.placeholder(tf.float64)
    z = x + y
    for eager in (False, True):
        with pytest.raises(tf.GraphError, match=r"call 'add' \(.*test_graph_mode.py:\d+\): .*broadcast"):
            tf.Session().run(z, {x: np.ones(3), y: np.ones(4)}, eager=eager)


def test_uninitialized():
    w = tf.Variable([1.0], name="w")
    with pytest.raises(tf.UninitializedVariable, match=r"variable 'w' \(.*test_graph_mode.py:\d+\) has no value"):
        tf.Session().run(w + 1)


def test_default_of_a_placeholder():
    p = tf.placeholder_with_default(3.0)
    assert tf.Session().run(p * 2) == 6
    assert tf.Session().run(p * 2, {p: 5.0}) == 10


def test_one_compiled_callable_for_fetches_and_feeds():
    x = tf.placeholder(tf.float64, (None,))
    y = np.sin(x) * 2
    session = tf.Session()
    for n in (3, 4, 500):
        session.run(y, {x: np.ones(n)})
    (call,) = session._calls.values()
    assert call._function.stats.traces == 1
    f = session.make_callable(y, [x])
    np.testing.assert_array_equal(f(np.ones(3)), session.run(y, {x: np.ones(3)}))
    assert len(session._calls) == 1
    with pytest.raises(TypeError, match="takes 1 values, and got 2"):
        f(1, 2)


def test_node_by_node_gives_the_same_bits():
    rng = np.random.default_rng(0)
    x = tf.placeholder(tf.float64, (None, 4))
    y = np.exp(np.sin(x) @ rng.random((4, 3))) / np.sqrt(np.sum(x * x, axis=1, keepdims=True) + 1)
    data = rng.standard_normal((50, 4))
    session = tf.Session()
    np.testing.assert_array_equal(session.run(y, {x: data}), session.run(y, {x: data}, eager=True))


def test_results_are_the_callers_own():
    w = tf.Variable([1.0, 2.0])
    session = started()
    fetches = (w, w[::-1], np.transpose(w))
    for eager in (False, True):
        for fetch in fetches:
            session.run(fetch, eager=eager)[...] = 99
    np.testing.assert_array_equal(session.run(w), [1, 2])
    x = tf.placeholder(tf.float64, (None,))
    fed = np.ones(3)
    session.run(x, {x: fed})[...] = 5
    assert fed[0] == 1


def test_assignments():
    v = tf.Variable([1.0, 2.0])
    session = started()
    np.testing.assert_array_equal(session.run(v.assign_add([1.0, 1.0])), [2, 3])
    np.testing.assert_array_equal(session.run(v.assign_sub([1.0, 0.0])), [1, 3])
    np.testing.assert_array_equal(session.run(v.assign(7.0)), [7, 7])
    with pytest.raises(tf.GraphError, match=r"a value of shape \(3,\) cannot be assigned to variable"):
        v.assign([1.0, 2.0, 3.0])
    with pytest.raises(tf.GraphError, match="cannot be assigned"):
        tf.Variable([1, 2]).assign(tf.constant([0.5, 0.5]))
    v.load([0.0, 1.0], session)
    np.testing.assert_array_equal(session.run(v), [0, 1])


def test_a_variable_of_any_shape():
    v = tf.Variable([1.0], validate_shape=False)
    grow = v.assign(np.concatenate([v, v]))
    session = started()
    for n in (2, 4, 8):
        assert session.run(grow).shape == (n,)


def test_reads_see_the_start_of_the_run_and_control_dependencies_change_that():
    v = tf.Variable(1.0)
    change = v.assign_add(1.0)
    with tf.control_dependencies([change]):
        after = v.read_value() * 1
    session = started()
    assert session.run([v, change, after]) == [1, 2, 2]
    assert session.run(after) == 3


def test_a_variable_used_under_control_dependencies_has_its_changed_value():
    v, w = tf.Variable(1.0), tf.Variable(10.0)
    with tf.control_dependencies([v.assign_add(1.0)]):
        total = v + w
        copied = w.assign(v)
    assert total.node.inputs[1] is w.node, "what is not changed is not read again"
    assert total.node.inputs[0] is not v.node
    session = started()
    assert session.run([total, v]) == [12, 1]
    assert session.run(copied) == 3


def test_derivative_by_a_variable_counts_all_places_that_read_it():
    v = tf.Variable(2.0)
    with tf.control_dependencies([v.assign_add(1.0)]):
        later = v * v
    total = later + 10 * v
    session = started()
    assert session.run([tf.gradients(total, v)[0], total]) == [16, 29]


def test_control_dependencies_of_operations():
    v = tf.Variable(0.0)
    first = v.assign(5.0)
    with tf.control_dependencies([first]):
        second = tf.no_op()
    session = started()
    assert session.run(second) is None
    assert session.run(v) == 5
    assert session.run(tf.group(v.assign_add(1.0))) is None
    assert session.run(v) == 6


def test_sessions_have_variables_of_their_own():
    v = tf.Variable(1.0)
    one, two = started(), started()
    one.run(v.assign(5.0))
    assert (one.run(v), two.run(v)) == (5, 1)


def test_default_session():
    v = tf.Variable(2.0)
    with pytest.raises(tf.GraphError, match="no session is the default"):
        v.eval()
    with tf.Session():
        v.initializer.run()
        assert (v * 2).eval() == 4


def test_a_graph_that_grows_in_a_loop():
    x = tf.placeholder(tf.float64)
    session = tf.Session()

    def loop():
        for n in range(5):
            session.run(x + n, {x: 1.0})

    with pytest.raises(tf.GrowingGraph, match=r"test_graph_mode.py:\d+"):
        loop()


def test_a_graph_may_grow_between_runs():
    x = tf.placeholder(tf.float64)
    session = tf.Session()
    session.run(x, {x: 1.0})
    y = x + 1
    session.run(y, {x: 1.0})
    z = y * 2
    assert session.run(z, {x: 1.0}) == 4


def test_functions_of_tracejit_and_numpy():
    x = tf.placeholder(tf.float64, (None,))
    session = tf.Session()
    data = np.linspace(-1, 1, 7)
    np.testing.assert_array_equal(session.run(tj.erf(x), {x: data}), tj.erf(data))
    np.testing.assert_array_equal(session.run(tf.sigmoid(x), {x: data}), tj.sigmoid(data))
    np.testing.assert_array_equal(session.run(np.sort(x)[::-1], {x: data}), np.sort(data)[::-1])
    np.testing.assert_array_equal(session.run(x.reshape(-1, 1).sum(axis=1), {x: data}), data)
    np.testing.assert_array_equal(session.run(np.unique(x), {x: [2.0, 1.0, 2.0]}), [1, 2])


def test_functions_with_several_results():
    x = tf.placeholder(tf.float64, (None, None))
    values, vectors = np.linalg.eigh(x)
    data = np.array([[2.0, 1.0], [1.0, 2.0]])
    found = tf.Session().run([values, vectors], {x: data})
    np.testing.assert_allclose(found[0], [1, 3])


# ---- control flow


def test_cond_runs_only_the_taken_branch():
    p = tf.placeholder(tf.bool, ())
    x = tf.placeholder(tf.float64, (None,))
    counter = tf.Variable(0)
    costly = np.sin(x) + 1  # used by one branch alone

    def true():
        return costly * tf.cast(counter.assign_add(1), tf.float64)

    result = tf.cond(p, true, lambda: x)
    session = started()
    data = np.zeros(3)
    np.testing.assert_array_equal(session.run(result, {p: False, x: data}), data)
    assert session.run(counter) == 0
    np.testing.assert_array_equal(session.run(result, {p: True, x: data}), data + 1)
    assert session.run(counter) == 1
    assert session.run(result, {p: True, x: data}, eager=True)[0] == 2


def test_cond_of_several_results_and_operations():
    p = tf.placeholder(tf.bool, ())
    v = tf.Variable(1.0)
    a, b = tf.cond(p, lambda: (v * 2, v * 3), lambda: (v * 5, v * 7))
    change = tf.cond(p, lambda: tf.group(v.assign(10.0)), lambda: tf.no_op())
    session = started()
    assert session.run([a, b], {p: True}) == [2, 3]
    assert session.run([a, b], {p: False}) == [5, 7]
    session.run(change, {p: False})
    assert session.run(v) == 1
    session.run(change, {p: True})
    assert session.run(v) == 10
    with pytest.raises(tf.GraphError, match="give 2 and 1 results"):
        tf.cond(p, lambda: (v, v), lambda: v)
    with pytest.raises(tf.GraphError, match="give float64 and int64"):
        tf.cond(p, lambda: v, lambda: tf.constant(1))


def test_while_loop():
    n = tf.placeholder(tf.int64, ())
    scale = tf.Variable(2.0)
    i, total = tf.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, t * scale), [tf.constant(0), tf.constant(1.0)])
    session = started()
    assert session.run([i, total], {n: 10}) == [10, 1024]
    assert session.run([i, total], {n: 0}) == [0, 1]
    assert session.run(total, {n: 3}, eager=True) == 8
    with pytest.raises(tf.GraphError, match="goes in as int64 and comes out as float64"):
        tf.while_loop(lambda i: i < 3, lambda i: i + 0.5, [tf.constant(0)])
    with pytest.raises(tf.GraphError, match="stands in the body of a while_loop"):
        tf.while_loop(lambda i: i < 3.0, lambda i: i + scale.assign_add(1.0), [tf.constant(0.0)])


# ---- derivatives


def test_gradients_through_everything():
    x = tf.placeholder(tf.float64, ())
    p = tf.placeholder(tf.bool, ())
    y = tf.cond(p, lambda: x**3, lambda: tf.exp(x))
    (slope,) = tf.gradients(y, x)
    (curve,) = tf.gradients(slope, x)
    session = tf.Session()
    assert session.run([slope, curve], {x: 2.0, p: True}) == [12, 12]
    np.testing.assert_allclose(session.run([slope, curve], {x: 2.0, p: False}), [np.exp(2)] * 2)


def test_gradients_by_inner_tensors_and_weights():
    x = tf.placeholder(tf.float64, (None,))
    h = np.sin(x)
    y = h * h
    by_h, by_x = tf.gradients(y, [h, x], grad_ys=x)
    data = np.linspace(0, 1, 5)
    found = tf.Session().run([by_h, by_x], {x: data})
    np.testing.assert_allclose(found[0], 2 * np.sin(data) * data)
    np.testing.assert_allclose(found[1], 2 * np.sin(data) * np.cos(data) * data)


def test_gradients_of_what_is_not_connected():
    x, z = tf.placeholder(tf.float64, ()), tf.placeholder(tf.float64, ())
    assert tf.gradients(x * 2, [z]) == [None]
    with pytest.raises(tf.GraphError, match="gradients are of real floats"):
        tf.gradients(tf.cast(x, tf.int64), x)


# ---- optimizers


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: tf.train.GradientDescentOptimizer(0.01), tj.optim.SGD(0.01)),
        (lambda: tf.train.MomentumOptimizer(0.01, 0.9, use_nesterov=True), tj.optim.SGD(0.01, 0.9, True)),
        (lambda: tf.train.AdagradOptimizer(0.1), tj.optim.Adagrad(0.1)),
        (lambda: tf.train.RMSPropOptimizer(0.01), tj.optim.RMSProp(0.01)),
        (lambda: tf.train.AdamOptimizer(0.01), tj.optim.Adam(0.01)),
        (lambda: tf.train.Optimizer(tj.optim.Lion(0.01), "Lion"), tj.optim.Lion(0.01)),
    ],
)
def test_optimizers_are_those_of_optim(make, rule):
    start = [np.array([1.0, -2.0]), np.array(3.0)]

    def loss_of(w, b):
        return np.sum((w * 2 + b) ** 2) + np.sum(w**4)

    w, b = (tf.Variable(value) for value in start)
    steps = tf.Variable(0, trainable=False)
    train = make().minimize(loss_of(w, b), global_step=steps)
    session = started()
    state, now = rule.init(start), start
    gradient = tj.grad(lambda p: loss_of(*p))
    for _ in range(10):
        session.run(train)
        now, state = rule.update(gradient(now), state, now)
    for mine, theirs in zip(session.run([w, b]), now, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-14)
    assert session.run(steps) == 10


def test_optimizers_refuse_what_they_cannot_do():
    x = tf.constant(1.0)
    with pytest.raises(tf.GraphError, match="no trainable variable"):
        tf.train.GradientDescentOptimizer(0.1).minimize(x)
    tf.Variable(1.0)
    with pytest.raises(tf.GraphError, match="depends on none of the variables"):
        tf.train.GradientDescentOptimizer(0.1).minimize(x * 2)


# ---- plain functions and graphs


def test_function_to_graph_and_back():
    def f(x, y):
        return {"sum": np.sin(x) + y, "product": x @ y}

    graph = tf.function(f, [(np.float64, (None, 3)), (np.float64, (3,))])
    assert graph.outputs["product"].shape == (None,)
    x, y = np.arange(6.0).reshape(2, 3), np.ones(3)
    back, expected = graph.as_function()(x, y), tj.jit(f)(x, y)
    for key in ("sum", "product"):
        np.testing.assert_array_equal(back[key], expected[key])
    found = tf.Session(graph).run(graph.outputs, dict(zip(graph.inputs, (x, y), strict=True)))
    np.testing.assert_array_equal(found["sum"], expected["sum"])
    with pytest.raises(tf.GraphError, match="no value before a session runs it"):
        tf.function(lambda x: x if x > 0 else -x, [(np.float64, ())])


def test_as_function_needs_all_inputs(graph):
    x, v = tf.placeholder(tf.float64, ()), tf.Variable(1.0)
    assert graph.as_function([x], x * 2)(3.0) == 6
    assert graph.as_function([x, v], x * v)(3.0, 4.0) == 12
    with pytest.raises(tf.GraphError, match="make it one of the inputs"):
        graph.as_function([x], x * v)
    with pytest.raises(tf.GraphError, match="needs its inputs and outputs"):
        graph.as_function([x])


# ---- saving


def test_saver(tmp_path):
    pytest.importorskip("safetensors")
    w, b = tf.Variable([1.0, 2.0], name="w"), tf.Variable(3, name="layer/b")
    session = started()
    saver = tf.train.Saver()
    session.run([w.assign([5.0, 6.0]), b.assign(7)])
    path = saver.save(session, tmp_path / "model", global_step=3)
    assert path.endswith("model-3")
    fresh = tf.Session()
    saver.restore(fresh, path)
    np.testing.assert_array_equal(fresh.run(w), [5, 6])
    assert fresh.run(b) == 7
    more = tf.Variable(1.0, name="more")
    with pytest.raises(tf.GraphError, match="has no value for more"):
        tf.train.Saver([w, more]).restore(fresh, path)
    with pytest.raises(FileNotFoundError, match="no file of weights"):
        saver.restore(fresh, tmp_path / "nothing")
    (tmp_path / "bad").write_bytes(b"no such format at all")
    with pytest.raises(ValueError, match="no file of weights in the safetensors format"):
        saver.restore(fresh, tmp_path / "bad")


# ---- random numbers


def test_each_run_draws_other_numbers_and_sessions_of_a_seed_draw_the_same():
    tf.set_random_seed(3)
    x, y = tf.random_normal((4,)), tf.random_normal((4,), dtype=np.float64)
    one, two = tf.Session(), tf.Session()
    first = one.run([x, y])
    second = one.run([x, y])
    assert not np.intersect1d(first[0], second[0]).size
    assert not np.isclose(first[0], first[1]).any(), "nodes are unrelated"
    for known in (first, second):
        again = two.run([x, y])
        np.testing.assert_array_equal(known[0], again[0])
        np.testing.assert_array_equal(known[1], again[1])
    assert first[0].dtype == np.float32
    assert first[1].dtype == np.float64


def test_a_seed_of_the_graph_changes_the_numbers_and_one_of_a_node_keeps_them():
    def drawn(seed: int, before: int, own: int | None) -> np.ndarray:
        with tf.Graph().as_default(), tf.Session() as session:
            tf.set_random_seed(seed)
            for _ in range(before):
                tf.constant(1.0)
            return session.run(tf.random_uniform((8,), seed=own))

    assert (drawn(1, 0, None) != drawn(2, 0, None)).all()
    assert (drawn(1, 0, None) != drawn(1, 2, None)).all()
    np.testing.assert_array_equal(drawn(1, 0, 5), drawn(1, 2, 5))
    with pytest.raises(ValueError, match="seed"):
        tf.set_random_seed(-1)


def test_node_by_node_draws_the_same_numbers():
    x = tf.random_normal((3,))
    y = np.exp(x)
    one, two = tf.Session(), tf.Session()
    for _ in range(2):
        for a, b in zip(one.run([x, y]), two.run([x, y], eager=True), strict=True):
            np.testing.assert_array_equal(a, b)


def test_ranges_of_random_numbers():
    u = tf.random_uniform((1000,), -2, 5)
    k = tf.random_uniform((1000,), 3, 9, dtype=np.int32)
    t = tf.truncated_normal((1000,), mean=1.0, stddev=0.5)
    u, k, t = tf.Session().run([u, k, t])
    assert u.min() >= -2
    assert 4.9 < u.max() < 5
    assert sorted(set(k)) == [3, 4, 5, 6, 7, 8]
    assert k.dtype == np.int32
    assert abs(t - 1).max() <= 1.0
    with pytest.raises(ValueError, match="maxval"):
        tf.random_uniform((3,), dtype=np.int32)


def test_variables_begin_with_random_numbers():
    w = tf.Variable(tf.random_normal([3, 2], stddev=0.1, dtype=np.float64))
    session = started()
    value = session.run(w)
    assert value.shape == (3, 2)
    np.testing.assert_array_equal(session.run(w), value)


def test_dropout_keeps_the_mean_and_may_be_fed():
    keep = tf.placeholder(np.float32, ())
    x = tf.ones((10000,))
    dropped = tf.nn.dropout(x, keep)
    session = tf.Session()
    value = session.run(dropped, {keep: 0.5})
    assert set(np.unique(value)) == {0, 2}
    assert abs(value.mean() - 1) < 0.05
    assert (session.run(dropped, {keep: 1.0}) == 1).all()
    gradient = tf.gradients(dropped, x)[0]
    value, slope = session.run([dropped, gradient], {keep: 0.25})
    np.testing.assert_array_equal(value, slope)
    with pytest.raises(ValueError, match="either"):
        tf.nn.dropout(x)


def test_random_numbers_in_the_body_of_a_loop_are_refused():
    with pytest.raises(tf.GraphError, match="same numbers in each turn"):
        tf.while_loop(lambda x: x < 3, lambda x: x + tf.random_uniform((), dtype=np.float64), [tf.constant(0.0)])
    noise = tf.random_uniform((), dtype=np.float64)
    total = tf.while_loop(lambda x: x < 3, lambda x: x + 1 + noise, [tf.constant(0.0)])
    assert 3 <= tf.Session().run(total) < 6


def test_a_saver_keeps_the_state_of_random_numbers(tmp_path):
    tf.Variable(1.0)
    x = tf.random_normal((4,))
    session = started()
    session.run(x)
    path = tf.train.Saver().save(session, tmp_path / "all.safetensors")
    expected = session.run(x)
    other = tf.Session()
    tf.train.Saver().restore(other, path)
    np.testing.assert_array_equal(other.run(x), expected)


# ---- functions of neural networks


def test_functions_of_neural_networks_against_their_definitions():
    rng = np.random.default_rng(0)
    logits, hot = rng.normal(size=(5, 3)), np.eye(3)[[0, 2, 1, 1, 0]]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    x, y, k = (tf.constant(value) for value in (logits, hot, hot.argmax(axis=1)))
    session = tf.Session()
    for tensor, expected in (
        (tf.nn.softmax(x), p),
        (tf.nn.relu(x), np.maximum(logits, 0)),
        (tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=x), -(hot * np.log(p)).sum(axis=1)),
        (tf.nn.sparse_softmax_cross_entropy_with_logits(labels=k, logits=x), -(hot * np.log(p)).sum(axis=1)),
        (
            tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=x),
            np.log1p(np.exp(logits)) - hot * logits,
        ),
        (tf.nn.l2_loss(x), (logits**2).sum() / 2),
        (tf.nn.bias_add(x, np.arange(3.0)), logits + np.arange(3.0)),
        (tf.nn.moments(x, [0])[1], logits.var(axis=0)),
    ):
        np.testing.assert_allclose(session.run(tensor), expected, rtol=1e-12)


def test_convolution_and_pooling_of_images_with_channels_last():
    rng = np.random.default_rng(0)
    images, kernel = rng.normal(size=(2, 5, 6, 3)), rng.normal(size=(3, 3, 3, 4))
    x = tf.placeholder(np.float64, (None, 5, 6, 3))
    y = tf.nn.conv2d(x, kernel, [1, 1, 1, 1], "VALID")
    z = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
    assert (y.shape, z.shape) == ((None, 3, 4, 4), (None, 3, 3, 3))
    made, pooled = tf.Session().run([y, z], {x: images})
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    np.testing.assert_allclose(made, np.einsum("bhwcij,ijco->bhwo", windows, kernel), rtol=1e-12)
    np.testing.assert_array_equal(pooled[:, 0, 0], images[:, :2, :2].max(axis=(1, 2)))
    np.testing.assert_array_equal(pooled[:, 2, 2], images[:, 4:, 4:].max(axis=(1, 2)))
    with pytest.raises(ValueError, match="NHWC"):
        tf.nn.conv2d(x, kernel, [1, 1, 1, 1], "SAME", data_format="NCHW")
    with pytest.raises(ValueError, match="strides"):
        tf.nn.conv2d(x, kernel, [2, 1, 1, 1], "SAME")


def test_independent_nodes_run_at_the_same_time():
    x, y = tf.placeholder(np.float64, (None,)), tf.placeholder(np.float64, (None,))
    fetches = [np.sort(x), np.argsort(y)]
    session = tf.Session()
    feed = {x: np.arange(10000.0)[::-1], y: np.arange(10000.0)[::-1]}
    first, second = session.run(fetches, feed)
    np.testing.assert_array_equal(first, np.arange(10000.0))
    np.testing.assert_array_equal(second, np.arange(10000)[::-1])
    assert "np.sort, np.argsort, at the same time" in str(session.explain(fetches, feed))
