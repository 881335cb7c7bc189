from policies.joint.relocate import Relocate
from policies.testing import PolicyConformance


class TestRelocate(PolicyConformance):
    def policy(self) -> Relocate:
        return Relocate()
