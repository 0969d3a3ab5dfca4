"""Layers, models, losses and weights."""

from tracejit.nn import callbacks, functional, initializers, losses, metrics
from tracejit.nn.attention import MultiHeadAttention, TransformerBlock
from tracejit.nn.convolution import AvgPool1d, AvgPool2d, Conv1d, Conv2d, MaxPool1d, MaxPool2d
from tracejit.nn.dense import Dense
from tracejit.nn.layers import (
    ELU,
    GELU,
    Activation,
    Dropout,
    Embedding,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    ModuleList,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from tracejit.nn.module import Module, Parameter, functional_call
from tracejit.nn.normalization import BatchNorm, LayerNorm
from tracejit.nn.recurrent import GRU, LSTM, RNN
from tracejit.nn.sequential import Model, Sequential
from tracejit.nn.training import TrainStep

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "Conv1d",
    "Conv2d",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
    "Model",
    "Module",
    "ModuleList",
    "MultiHeadAttention",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "TrainStep",
    "TransformerBlock",
    "callbacks",
    "functional",
    "functional_call",
    "initializers",
    "losses",
    "metrics",
]
