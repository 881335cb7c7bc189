from policies.place.opportunity_cost import OpportunityCost
from policies.testing import PlaceConformance


class TestOpportunityCost(PlaceConformance):
    def policy(self) -> OpportunityCost:
        return OpportunityCost()
