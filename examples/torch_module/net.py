"""A PyTorch module of one's own: `apportion run examples/torch_module/job.yaml`."""

import torch
from torch import nn


class Residual(nn.Module):
    """A layer of `width` units, then blocks that add to what they are given."""

    def __init__(self, inputs: int, outputs: int, width: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width)) for _ in range(blocks))
        self.last = nn.Linear(width, outputs)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the margins (rows, outputs) of standardised rows (rows, inputs)."""
        hidden = self.first(rows)
        for block in self.blocks:
            hidden = hidden + torch.relu(block(hidden))
        return self.last(hidden)
