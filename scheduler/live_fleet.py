"""A fleet like a cluster that is there."""

from __future__ import annotations

from collections.abc import Sequence

from policies.interface import Resources
from scheduler.errors import UserError
from scheduler.inventory import LogicalView
from scheduler.simulation.fleet import Fleet, Machine


def fleet_like(views: Sequence[LogicalView], source: str = "the connected cluster") -> Fleet:
    """Return a machine for every node that has CPU or GPU, with all of it free; hints are read from its labels.

    Raises
    ------
    UserError
        If no node has any.
    """
    machines = tuple(
        Machine.labelled(view.id, Resources(*view.capacity), view.labels)
        for view in views
        if view.capacity[0] > 0 or view.capacity[1] > 0
    )
    if not machines:
        raise UserError(f"{source}: none of its {len(views)} nodes has CPU or GPU: there is nothing to simulate")
    return Fleet(machines, source)
