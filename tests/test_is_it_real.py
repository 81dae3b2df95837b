"The dive on p-values: the simulated studies are those of scipy, and luck behaves as the page says"
import numpy as np
import pytest

from course_lib.dives import is_it_real


@pytest.mark.parametrize("true", [0., -0.02, 0.05])
def test_studies_find_the_true_slope_on_average(true):
    slopes, p = is_it_real.chance_slopes(80, studies=3000, true_slope=true)
    assert abs(slopes.mean() - true) < 4*slopes.std()/3000**0.5 and ((0 <= p) & (p <= 1)).all()


def test_slopes_and_p_values_are_those_of_scipy():
    from scipy import stats
    slopes, p = is_it_real.chance_slopes(12, studies=1, seed=7)
    rng = np.random.default_rng(7)
    x, luck = 5 + 9*rng.normal(size=12), rng.normal(size=12)
    fit = stats.linregress(x, 2 + 0.5*luck)
    assert np.allclose([slopes[0], p[0]], [fit.slope, fit.pvalue])


def test_luck_shrinks_with_the_root_of_the_cities():
    few, many = (is_it_real.chance_slopes(n)[0].std() for n in (25, 100))
    assert 1.8 < few/many < 2.3


def test_neighbours_fool_the_p_value():
    shares = {regions: (is_it_real.chance_slopes(100, regions=regions)[1] < 0.05).mean() for regions in (0, 8, 50)}
    assert shares[0] < 0.07 < shares[50] < shares[8] and shares[8] > 0.4
