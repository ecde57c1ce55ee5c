"""Learning rates against an independent reading of the paper's words."""

import jax
import numpy as np
import pytest

from lth_jax.training import schedules


def by_hand(step, peak, warmup, drops, factor):
  """The rate of one step, in float64."""
  rate = peak * min(step / warmup, 1.0) if warmup else peak
  for drop in drops:
    if step >= drop:
      rate *= factor
  return rate


@pytest.mark.parametrize("warmup", [0, 1, 7, 20])
@pytest.mark.parametrize("drops", [(), (5,), (20, 25), (1, 2, 3)])
def test_every_step_is_as_by_hand(warmup, drops):
  schedule = schedules.make(0.3, warmup=warmup, drops=drops, factor=0.1)
  found = jax.jit(jax.vmap(schedules.rate, in_axes=(None, 0)))(
    schedule, np.arange(40)
  )
  expected = [by_hand(step, 0.3, warmup, drops, 0.1) for step in range(40)]
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_constant_rate_is_that_number_bit_for_bit():
  for peak in (1.2e-3, 2e-4, 0.1, 0.03):
    rates = [schedules.rate(schedules.make(peak), step) for step in (0, 9**9)]
    assert [np.float32(rate) for rate in rates] == [np.float32(peak)] * 2


def test_schedules_of_equal_shape_share_a_program():
  traces = []

  @jax.jit
  def rate(schedule, step):
    traces.append(None)
    return schedules.rate(schedule, step)

  for peak, warmup, drops in ((0.1, 0, (3, 4)), (0.2, 9, (7, 8))):
    rate(schedules.make(peak, warmup=warmup, drops=drops), 5)
  assert len(traces) == 1
