"""How margins come from rows: linear, or through layers."""

from workers.architectures.base import Architecture
from workers.architectures.linear import Linear

ARCHITECTURES: dict[str, type[Architecture]] = {kind.kind: kind for kind in (Linear,)}
"""Every architecture by the name that a model file gives it."""

__all__ = ["ARCHITECTURES", "Architecture", "Linear"]
