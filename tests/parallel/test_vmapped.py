"""Trials side by side: the same bits, whatever the other trials are."""

import jax
import numpy as np
import pytest
from helpers import tiny

from lth_jax.parallel import segments, vmapped
from lth_jax.training import loop, schedules

DENSITIES = (1.0, 0.5, 0.2)


def runs():
  """Trials that differ in weights, masks, images, order and rates."""
  return [
    tiny.scheduled(
      tiny.start(seed, density=density),
      seed,
      schedule=schedules.make(0.01 * (1 + seed), warmup=5 * seed, drops=(30,)),
    )
    for seed, density in enumerate(DENSITIES)
  ]


def train(some, *, width=4, seconds=1e9, pause=lambda *_: None):
  workers = [tiny.worker()]
  with tiny.segments(seconds):
    return segments.train(
      tiny.stacked(width), workers, some, tiny.entries(), pause=pause
    )


@pytest.fixture(scope="module")
def together():
  return train(runs())


def assert_same(one, other):
  tiny.assert_equal_bits(
    (one[0].progress, one[1]), (other[0].progress, other[1])
  )
  assert one[0].rows == other[0].rows


def test_each_trial_is_the_one_trained_alone(together):
  for run, (checkpoint, summary) in zip(runs(), together, strict=True):
    ((alone, alone_summary),) = segments.train(
      tiny.alone(),
      [tiny.worker()],
      [run],
      tiny.entries(),
      pause=lambda *_: None,
    )
    one, other = (checkpoint, summary), (alone, alone_summary)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
      a, b = np.asarray(a), np.asarray(b)
      assert (a.shape, a.dtype) == (b.shape, b.dtype)
      np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    tiny.assert_equal_bits(checkpoint.progress.batches, alone.progress.batches)


def test_a_trials_bits_do_not_depend_on_the_others(together):
  for order in ([2, 0, 1], [1], [1, 1, 1, 1]):
    found = train([runs()[index] for index in order])
    assert len(found) == len(order)
    for index, trial in zip(order, found):
      assert_same(trial, together[index])


def test_resuming_at_any_pause_changes_no_bit(together):
  saved = []
  train(
    runs(), seconds=0, pause=lambda _, checkpoints: saved.append(checkpoints())
  )
  assert len(saved) == 61
  for checkpoints in saved[::14] + saved[-1:]:
    assert len(checkpoints) == len(runs())
    resumed = [
      run._replace(resume_point=checkpoint)
      for run, checkpoint in zip(runs(), checkpoints)
    ]
    for found, expected in zip(train(resumed), together):
      assert_same(found, expected)


def test_unstack_is_the_inverse_of_stack(together):
  progresses = [checkpoint.progress for checkpoint, _ in together]
  starts = [run.start for run in runs()]
  trials = vmapped.make(tiny.trainer(), 3)
  for items in (progresses, starts, [run.split for run in runs()]):
    found = trials.unstack(trials.stack(items))
    tiny.assert_equal_bits(found, items)


def test_a_trial_that_diverges_harms_no_other(together):
  broken = runs()[0]
  params = jax.tree.map(lambda x: x * np.float32(1e30), broken.start.params)
  broken = broken._replace(start=broken.start._replace(params=params))
  lost, kept = train([broken, runs()[1]])
  assert not lost[0].progress.finite
  assert_same(kept, together[1])


def test_branches_on_shared_values_stay_branches():
  """Else every pause would compute both sides, evaluations too."""

  def count(trials, width):
    run = runs()[0]
    stacks = [trials.stack([x] * width) for x in run[1:5]]
    start, split, key, schedule = stacks
    progress = jax.eval_shape(trials.trainer.begin, start, split)
    plan = segments.plan_of(tiny.entries()[:2])
    inputs = loop.Inputs(tiny.data(), split, key, schedule)
    jaxpr = jax.make_jaxpr(trials.trainer.advance)(progress, plan, inputs)
    return str(jaxpr).count(" cond[")

  # But for the best weights so far: each trial has its own.
  assert count(tiny.stacked(2), 2) == count(tiny.alone(), 1) - 1 > 0
