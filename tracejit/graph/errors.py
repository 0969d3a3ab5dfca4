"""What goes wrong in graph mode; each message names the node and the user's line that made it."""

from __future__ import annotations


class GraphError(RuntimeError):
    """A mistake in building or running a graph."""


class UninitializedVariable(GraphError):
    """A variable is read in a session in which nothing has given it a value."""


class MissingFeed(GraphError):
    """A placeholder is needed, and `feed_dict` has no value for it."""


class BadFeed(GraphError):
    """The value fed for a tensor has another shape or dtype than the tensor."""


class GrowingGraph(GraphError):
    """A loop around `Session.run` adds nodes at each turn."""
