"""An operation that many targets cannot go through at once."""

import torch


class Doubled(torch.autograd.Function):
    """An operation without a batching rule."""

    @staticmethod
    def forward(ctx, hidden):
        return 2 * hidden

    @staticmethod
    def backward(ctx, *gradients):
        return 2 * gradients[0] * float(gradients[0].abs().max() >= 0)
