"""The examples run as they stand, at a small size, and say what they should."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested


def test_image_filter(capsys: pytest.CaptureFixture[str]) -> None:
    module = load("image_filter")
    module.main(height=60, width=80)
    printed = capsys.readouterr().out
    assert "60 x 80 pixels" in printed and "kernels" in printed and "NumPy" in printed
    assert float(printed.splitlines()[0].rsplit(" ", 1)[1]) < 1e-12


def test_black_scholes(capsys: pytest.CaptureFixture[str]) -> None:
    module = load("black_scholes")
    module.main(count=1000)
    printed = capsys.readouterr().out
    assert "1000 options: 1 kernel" in printed
    assert float(printed.splitlines()[0].rsplit(" ", 1)[1]) < 1e-11
    # A known value: spot 100, strike 100, one year, 5 % interest, 20 % volatility.
    options = module.price(*(np.full(2, v) for v in (100.0, 100.0, 1.0)), 0.05, np.full(2, 0.2))
    assert abs(options["call"][0] - 10.4506) < 1e-3 and abs(options["put"][0] - 5.5735) < 1e-3


def test_heat_equation(capsys: pytest.CaptureFixture[str]) -> None:
    module = load("heat_equation")
    module.main(size=20, tolerance=1e-4)
    printed = capsys.readouterr().out
    # A quarter of the border is at 100 degrees, so by symmetry the middle settles near 25.
    middle = float(printed.splitlines()[0].rsplit(" ", 1)[1])
    assert 20 < middle < 30
    assert module.settled.stats.plain_calls == 0 and module.settled.stats.traces <= 5
    plates = [np.zeros((12, 12)), np.zeros((12, 12))]
    for plate in plates:
        plate[0] = 100.0
    ours = module.settled(plates[0], 1e-3)
    plain = module.settled.function(plates[1], 1e-3)
    assert ours == plain
    np.testing.assert_allclose(plates[0], plates[1], rtol=1e-12)


def test_mlp_from_scratch(capsys: pytest.CaptureFixture[str]) -> None:
    module = load("mlp_from_scratch")
    module.main()
    lines = capsys.readouterr().out.splitlines()
    errors = [float(line.split(" error ")[1].split()[0]) for line in lines[:5]]
    assert max(errors) < 0.01 and max(errors) - min(errors) <= 1e-10
    assert float(lines[5].rsplit(" ", 1)[1]) <= 1e-10
    outputs = [float(line.split("->")[1].split()[0]) for line in lines[6:]]
    assert [round(output) for output in outputs] == [1, 1, 0]


def test_linear_regression(capsys: pytest.CaptureFixture[str]) -> None:
    load("linear_regression").main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["graph_mode", "eager_mode", "compiled"]
    assert all("first [0.0, 0.4, 0.8, 1.2]  loss 90.24  then W = 2.000000, b = 0.000001" in line for line in lines)


def test_pytorch_vs_tensorflow(capsys: pytest.CaptureFixture[str]) -> None:
    load("pytorch_vs_tensorflow").main(steps=60)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert float(lines[3].rsplit(" ", 1)[1]) < 1e-12


def test_ode_fit(capsys: pytest.CaptureFixture[str]) -> None:
    load("ode_fit").main(steps=200)
    lines = capsys.readouterr().out.splitlines()
    for line in lines[2:]:
        found, true = (float(text.rstrip(")")) for text in (line.split()[2], line.split()[4]))
        assert abs(found / true - 1) < 0.02


@pytest.mark.slow
def test_digits_cnn(capsys: pytest.CaptureFixture[str]) -> None:
    load("digits_cnn").main(epochs=3)
    printed = capsys.readouterr().out
    assert "60,666 parameters" in printed
    assert float(printed.split("in the last\n")[1].split("%")[0]) > 90


@pytest.mark.slow
def test_char_rnn(capsys: pytest.CaptureFixture[str]) -> None:
    load("char_rnn").main(epochs=4, length=12)
    lines = capsys.readouterr().out.splitlines()
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines[:3]]
    assert losses[-1] < 0.5 * losses[0]
    assert lines[-2].startswith("the graph is ") or lines[-1].startswith("the graph is ")


@pytest.mark.slow
def test_transformer_small(capsys: pytest.CaptureFixture[str]) -> None:
    load("transformer_small").main(steps=40, batch=32)
    lines = capsys.readouterr().out.splitlines()
    losses = [float(line.rsplit(" ", 1)[1]) for line in lines[:3]]
    assert losses[-1] < 0.8 * losses[0]
