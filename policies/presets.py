"""Policies by name: the registry of members, the named compositions, and ``resolve``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policies.balance.adaptive import Adaptive
from policies.balance.adaptive_pull import AdaptivePull
from policies.balance.capacity_proportional import CapacityProportional
from policies.balance.equal import Equal
from policies.balance.lpt import Lpt
from policies.balance.memory_capped import MemoryCapped
from policies.balance.min_cost_move import MinCostMove
from policies.balance.multifit import Multifit
from policies.balance.opt_perf import OptPerf
from policies.balance.pid import Pid
from policies.balance.pull import Pull
from policies.balance.round_robin import RoundRobin
from policies.balance.speed_proportional import SpeedProportional
from policies.balance.uniform_random import UniformRandom
from policies.composed import Composed
from policies.interface import Balance, Order, Place, Policy, PolicyError
from policies.joint.allox import Allox
from policies.joint.fair_longest import FairLongest
from policies.joint.finish_time_fair_lp import FinishTimeFairLp
from policies.joint.max_min_throughput import MaxMinThroughput
from policies.joint.max_sum_throughput import MaxSumThroughput
from policies.joint.min_makespan import MinMakespan
from policies.joint.pop import Pop
from policies.joint.relocate import Relocate
from policies.loading import create, load, unknown
from policies.order.deadline import Deadline
from policies.order.drf import Drf
from policies.order.fair_share import FairShare
from policies.order.fifo import Fifo
from policies.order.fifo_backfill import FifoBackfill
from policies.order.finish_time_fair import FinishTimeFair
from policies.order.gittins import Gittins
from policies.order.las import Las
from policies.order.optimus import Optimus
from policies.order.pollux_goodput import PolluxGoodput
from policies.order.priority import Priority
from policies.order.quota import Quota
from policies.order.sjf import Sjf
from policies.order.srsf import Srsf
from policies.order.srtf import Srtf
from policies.place.best_fit import BestFit
from policies.place.consolidate import Consolidate
from policies.place.cost import Cost
from policies.place.dot_product import DotProduct
from policies.place.fgd import FragmentationGradientDescent
from policies.place.first_fit import FirstFit
from policies.place.gpu_clustering import GpuClustering
from policies.place.gpu_packing import GpuPacking
from policies.place.locality import Locality
from policies.place.opportunity_cost import OpportunityCost
from policies.place.pack import Pack
from policies.place.power_of_two_choices import PowerOfTwoChoices
from policies.place.spread import Spread
from policies.place.tetris import Tetris
from policies.place.topology import Topology
from policies.place.uniform_random import UniformNode

ORDERS: dict[str, type[Order]] = {
    member.name: member
    for member in (
        Fifo,
        FifoBackfill,
        Sjf,
        Srtf,
        Srsf,
        Las,
        Priority,
        Drf,
        FairShare,
        FinishTimeFair,
        Deadline,
        Quota,
        PolluxGoodput,
        Optimus,
        Gittins,
    )
}
"""Who goes next: name -> class."""

PLACES: dict[str, type[Place]] = {
    member.name: member
    for member in (
        Spread,
        Pack,
        Consolidate,
        Topology,
        Cost,
        Locality,
        PowerOfTwoChoices,
        Tetris,
        UniformNode,
        FirstFit,
        BestFit,
        DotProduct,
        GpuPacking,
        GpuClustering,
        FragmentationGradientDescent,
        OpportunityCost,
    )
}
"""On which nodes: name -> class."""

BALANCES: dict[str, type[Balance]] = {
    member.name: member
    for member in (
        Equal,
        RoundRobin,
        UniformRandom,
        CapacityProportional,
        SpeedProportional,
        MemoryCapped,
        Lpt,
        Multifit,
        MinCostMove,
        OptPerf,
        Pid,
        Adaptive,
        Pull,
        AdaptivePull,
    )
}
"""How much each: name -> class."""

JOINTS: dict[str, type[Policy]] = {
    member.name: member
    for member in (MinMakespan, MaxMinThroughput, MaxSumThroughput, FinishTimeFairLp, Pop, Allox, FairLongest, Relocate)
}
"""Who goes next and on which nodes, at once: name -> class."""

FAMILIES: dict[str, tuple[type, Mapping[str, type]]] = {
    "order": (Order, ORDERS),
    "place": (Place, PLACES),
    "balance": (Balance, BALANCES),
    "joint": (Policy, JOINTS),
}
"""Family -> what its members are, and its members."""

DEFAULTS = {"order": "fifo", "place": "spread", "balance": "equal"}
"""The parts of a composition, and what it takes where it says nothing."""

PRESETS: dict[str, dict[str, str]] = {name: {**DEFAULTS, "balance": name} for name in BALANCES}
"""Name -> composition: each balance alone names one."""


def resolve(spec: str | Mapping[str, Any], search: Sequence[Path] = ()) -> Policy:
    """Return the policy that a job file names.

    Parameters
    ----------
    spec
        The name of a preset or of a joint policy; or names of an order, a place and a balance, in this order and joined
        by ``+``, such as ``las+fgd`` or ``drf+adaptive-pull``; or a mapping of ``order``, ``place`` and ``balance``
        (what is left out is ``fifo``, ``spread`` and ``equal``), or of ``joint`` and what it is to use of ``place``
        and ``balance``, each a name, ``module:Class``, or ``{either: {option: value}}``; or ``module:Class``, a policy
        of the user's own, or an order, place or balance of theirs, with the rest as above.
    search
        Folders in which modules are looked up first, such as the job file's.

    Raises
    ------
    PolicyError
        If a name is unknown (the message lists the choices), an option is wrong, or the user's code is no
        policy.
    """
    if isinstance(spec, Mapping):
        return _composed(spec, search)
    if not isinstance(spec, str):
        raise PolicyError(f"policy must be a name or a mapping of {', '.join(FAMILIES)}, but got {spec!r}")
    if ":" in spec:
        return _own(spec, search)
    if "+" in spec:
        return _composed(_parts(spec), search)
    if spec in JOINTS:
        return _composed({"joint": spec}, search)
    if spec not in PRESETS:
        raise unknown("policy", spec, [*PRESETS, *JOINTS], _hint(spec))
    return _composed(PRESETS[spec], search, name=spec)


def names_own_code(spec: str | Mapping[str, Any]) -> bool:
    """Say whether a policy, or a part of it, is the user's own (``module:Class``)."""
    parts = [spec] if isinstance(spec, str) else spec.values()
    names = [name for part in parts for name in (part if isinstance(part, Mapping) else [part])]
    return any(":" in str(name) for name in names)


def _parts(spec: str) -> dict[str, str]:
    """Return the family of each of the names that are joined by ``+``."""
    found: dict[str, str] = {}
    left = list(DEFAULTS)
    for name in spec.split("+"):
        family = next((family for family in left if name in FAMILIES[family][1]), None)
        if family is None:
            raise unknown(" or ".join(left) or "part of a policy", name, [one for f in left for one in FAMILIES[f][1]])
        found[family] = name
        left = left[left.index(family) + 1 :]
    return found


def _hint(name: str) -> str:
    """Say how a member is written that names no preset by itself."""
    families = [family for family, (_, members) in FAMILIES.items() if name in members]
    return "; ".join(
        f"as {family} it is written {{{family}: {name}}}, or joined to others as in fifo+spread+equal"
        for family in families
    )


def _own(spec: str, search: Sequence[Path]) -> Policy:
    plugin = create(spec, load(spec, search), {})
    if isinstance(plugin, Policy):
        return plugin
    family = next(family for family in DEFAULTS if isinstance(plugin, FAMILIES[family][0]))
    return _compose({family: plugin}, search)


def _composed(parts: Mapping[str, Any], search: Sequence[Path], name: str | None = None) -> Policy:
    for family in parts:
        if family not in FAMILIES:
            raise unknown("part of a policy", family, FAMILIES)
    if "joint" in parts:
        return _joint(parts, search)
    return _compose({family: _member(family, part, search) for family, part in parts.items()}, search, name)


def _joint(parts: Mapping[str, Any], search: Sequence[Path]) -> Policy:
    members = {family: _member(family, part, search) for family, part in parts.items() if family != "joint"}
    made: Policy = _member("joint", parts["joint"], search, members)  # one that ranks by itself knows no option `order`
    return made


def _compose(members: Mapping[str, Any], search: Sequence[Path], name: str | None = None) -> Policy:
    full: dict[str, Any] = {
        family: members.get(family) or _member(family, default, search) for family, default in DEFAULTS.items()
    }
    return Composed(**full, name=name)


def _member(family: str, part: Any, search: Sequence[Path], more: Mapping[str, Any] | None = None) -> Any:
    """Return the member that ``name`` or ``{name: {option: value}}`` names, made with ``more`` options."""
    kind, members = FAMILIES[family]
    name, options = next(iter(part.items())) if isinstance(part, Mapping) and len(part) == 1 else (part, {})
    options = {} if options is None else options
    if not isinstance(name, str) or not isinstance(options, Mapping):
        raise PolicyError(f"{family} must be a name or {{name: {{option: value}}}}, but got {part!r}")
    if ":" not in name and name not in members:
        raise unknown(family, name, members)
    member = create(name, load(name, search) if ":" in name else members[name], {**options, **(more or {})})
    if not isinstance(member, kind):
        raise PolicyError(f"{family} must be a {kind.__name__}, but {name!r} is a {type(member).__name__}")
    return member
