"""`SummaryWriter`: PyTorch's methods, by tensorboardX; the graph is ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tracejit import graph as graph_mode
from tracejit.driver import Jitted
from tracejit.graph.model_graph import model_graph
from tracejit.ir.graph import Graph as IrGraph
from tracejit.nn.module import Module
from tracejit.viz.graph_definition import graph_definition


class SummaryWriter:
    """Writes events to a folder that TensorBoard shows: `add_scalar`, `add_scalars`, `add_histogram`, `add_text`,
    `add_image`, `add_images`, `add_figure`, `add_hparams`, ... as tensorboardX has them, and `add_graph`.

    log_dir: the folder; options: those of tensorboardX.SummaryWriter.

    Raises ImportError where tensorboardX (extra `[viz]`) is not installed.
    """

    def __init__(self, log_dir: str | Path, **options: Any) -> None:
        try:
            import tensorboardX
        except ImportError:
            raise ImportError(
                "SummaryWriter writes by the package tensorboardX, which is not installed: pip install 'tracejit[viz]'"
            ) from None
        self.log_dir = str(log_dir)
        self._writer = tensorboardX.SummaryWriter(self.log_dir, **options)

    def add_graph(self, model: Any, *inputs: Any) -> None:
        """The graph of a model, of a jitted or plain function (both with inputs), or a graph itself.

        Raises TypeError for anything else.
        """
        from tensorboardX.proto.event_pb2 import Event

        definition = graph_definition(_graph(model, inputs))
        self._writer._get_file_writer().add_event(Event(graph_def=definition.SerializeToString()))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._writer, name)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Write what is pending."""
        self._writer.close()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _graph(model: Any, inputs: tuple[Any, ...]) -> graph_mode.Graph | IrGraph:
    if isinstance(model, graph_mode.Graph | IrGraph):
        return model
    if isinstance(model, Module):
        return model_graph(model, *inputs)
    if isinstance(model, Jitted):
        return model.trace(*inputs)
    if callable(model):
        return Jitted(model, (), fullgraph=False, fastmath=False).trace(*inputs)
    raise TypeError(f"add_graph takes a model or a function with its inputs, or a graph, not {type(model).__name__}")
