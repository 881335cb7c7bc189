"""All the tests that a policy owes; run them with `cd examples/policy_of_my_own && python -m pytest`."""

from mine import Mine

from policies.testing import BalanceConformance


class TestMine(BalanceConformance):
    """Every shard once, within memory, the same answer to an equal view."""

    def policy(self):
        """Return a new instance of the policy under test."""
        return Mine()
