"""Layers, models, losses and weights."""
