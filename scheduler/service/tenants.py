"""Whether a tenant may be declared, and what is wrong with it if not. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from policies.interface import RESOURCES, PolicyError, Tenant
from policies.order.tenancy import lineage
from scheduler.errors import UserError, shown, unknown
from scheduler.job import PLAIN_NAME
from scheduler.service.records import TenantRecord


def read_tenant(found: Mapping[str, Any]) -> TenantRecord:
    """Return the tenant that a client sent; raises ``UserError`` if it sent none."""
    try:
        return TenantRecord.of_json(found)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"this is no tenant: {error}, got {shown(found)}") from None


def refuse_tenant(record: TenantRecord, tenants: Mapping[str, Tenant]) -> None:
    """Refuse a tenant that is none.

    Parameters
    ----------
    tenants
        Those that are declared.

    Raises
    ------
    UserError
        If its name, weight, quota or limit is none, or it would be a part of itself or of one that is not there.
    """
    tenant = record.tenant
    if not (isinstance(tenant.name, str) and re.fullmatch(PLAIN_NAME, tenant.name)):
        raise UserError(
            "a tenant's name must be 1 to 64 letters, digits, '.', '_' or '-' of ASCII, a letter or digit first, "
            f"got {shown(tenant.name)}: choose another one"
        )
    if not (_is_number(tenant.weight) and 0 < tenant.weight < math.inf):
        raise UserError(
            f"tenant {tenant.name}: weight must be greater than 0, got {shown(tenant.weight)}: "
            "a finite number, 1 for a share like the others' (--weight)"
        )
    amounts = {} if tenant.quota is None else {name: getattr(tenant.quota, name) for name in RESOURCES}
    for name, amount in amounts.items():
        if not (_is_number(amount) and 0 <= amount < math.inf):
            raise UserError(
                f"tenant {tenant.name}: a quota's {name} must be a number from 0 on, got {shown(amount)}: "
                "'--quota none' lifts it"
            )
    if record.most_jobs is not None and not (type(record.most_jobs) is int and record.most_jobs >= 1):
        raise UserError(
            f"tenant {tenant.name}: the limit of its jobs must be a whole number of at least 1, got "
            f"{shown(record.most_jobs)}: '--max-jobs 0' lifts it"
        )
    _refuse_parent(tenant, tenants)


def _refuse_parent(tenant: Tenant, tenants: Mapping[str, Tenant]) -> None:
    if tenant.parent and tenant.parent not in tenants:
        raise UserError(unknown("tenant", tenant.parent, tenants))
    try:
        lineage(tenant.name, {**tenants, tenant.name: tenant})
    except PolicyError as error:
        raise UserError(str(error)) from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
