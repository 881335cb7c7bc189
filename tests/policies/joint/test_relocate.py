from policies.testing import PolicyConformance
from policies.joint.relocate import Relocate


class TestRelocate(PolicyConformance):
    def policy(self) -> Relocate:
        return Relocate()
