"""The sums over the whole vocabulary that make logits into probabilities, at temperature 1 and at a few others.

Softmax at temperature T divides exp(logit / T) by the sum of all of them. A run keeps the logarithms of those sums, so
that whoever reads it has the real logits and the exact probabilities at each of these temperatures. Knows no step.
"""

import torch

POWERS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
"""1 / T. exp(logit / T) is exp(logit) to this power, so products and square roots are all it takes: a quarter of what
seven times exp over the vocabulary costs.
"""


def log_sums(weights: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
    """log Σ weights^p for each p of POWERS, shape (powers,).

    `weights`, shape (vocabulary,), are exp(logit − largest logit), and `total` is their sum.
    """
    weights = weights.float()  # float32 is enough: none is above 1, and the largest is 1
    root, square = weights.sqrt(), weights.square()
    fourth = root.sqrt()
    sums = [fourth.sum(), root.sum(), fourth @ root, total, root @ weights, weights @ weights, square @ square]
    return torch.stack([x.double() for x in sums]).log()


def of_logits(log_sums: list[float], largest: float) -> tuple[tuple[float, float], ...]:
    """(1 / T, log Σ exp(logit / T)) in nats, from what `log_sums` says of logits less the largest."""
    return tuple((power, log_sum + power * largest) for power, log_sum in zip(POWERS, log_sums, strict=True))
