"""Derivatives and batching: Graph -> Graph, by rules that stand in the op table."""
