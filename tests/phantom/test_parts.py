"""Random variation between patients."""

from hypothesis import given
from hypothesis import strategies as st

from sautomed.phantom.parts import Variation


class Extreme:
    """A generator whose normal values lie as far out as any."""

    def __init__(self, value):
        self.value = value

    def standard_normal(self):
        return self.value


# a cyst's radius has a share of 0.4, so 2.5 standard deviations less would be nothing, or a rounding error below it
@given(st.floats(-9, 9), st.floats(0, 1), st.floats(0.5, 200))
def test_a_size_is_never_near_zero(value, share, mean):
    assert Variation(Extreme(value)).size(mean, share) >= 0.1 * mean
