from policies.testing import PlaceConformance
from policies.place.opportunity_cost import OpportunityCost


class TestOpportunityCost(PlaceConformance):
    def policy(self) -> OpportunityCost:
        return OpportunityCost()
