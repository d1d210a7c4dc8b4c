"""The readers of logits that are held against each other: by NumPy, and by torch as on a GPU."""

import math

import pytest
import torch

from decoding.engines.torch import softmax as on_device
from decoding.record.step import StepScores
from decoding.softmax import read_scores

INF = math.inf


def by_numpy(logits: torch.Tensor, top_k: int, picked_id: int | None = None) -> StepScores:
    return read_scores(logits.float().numpy(), top_k, picked_id)


READERS = pytest.mark.parametrize("read", [by_numpy, on_device.read_on_device], ids=["numpy", "torch"])
