"""Batches of arrays for training, and files of named arrays."""

from tracejit.data.loader import DataLoader, train_test_split

__all__ = ["DataLoader", "train_test_split"]
