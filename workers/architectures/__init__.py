"""How margins come from rows: linear, or through layers."""

from workers.architectures.base import Architecture
from workers.architectures.linear import Linear
from workers.architectures.mlp import Mlp
from workers.architectures.torch_module import TorchModule

ARCHITECTURES: dict[str, type[Architecture]] = {kind.kind: kind for kind in (Linear, Mlp, TorchModule)}
"""Every architecture by the name that a model file gives it."""

__all__ = ["ARCHITECTURES", "Architecture", "Linear", "Mlp", "TorchModule"]
