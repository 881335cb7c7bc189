"""How many processors a node may use when only its processes can be stopped and continued. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

BURST_S = 0.1
"""A node that was idle may catch up on this many seconds."""


@dataclass(frozen=True)
class Budget:
    """Seconds of processor time that a node has left: a token bucket, as the kernel's own quota.

    What was used is measured, not predicted, so that any number of processes and threads is held; what was used too
    much is paid back.
    """

    left_s: float = 0.0

    @property
    def may_run(self) -> bool:
        """Say whether the node's processes may go on in the next period."""
        return self.left_s >= 0

    def after(self, elapsed_s: float, processors: float, used_s: float) -> Budget:
        """Return what is left after a period in which the node had ``processors`` and used ``used_s`` of them."""
        earned_s = self.left_s + elapsed_s * processors
        return replace(self, left_s=min(earned_s, BURST_S * processors) - used_s)
