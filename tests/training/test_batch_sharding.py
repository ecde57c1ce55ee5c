"""A batch that is split over devices trains as one that is not."""

import functools
import re

import flax.linen as nn
import jax
import numpy as np
import pytest
from helpers import tiny

from lth_jax import errors, models, optim, training
from lth_jax.data import augment, scaling
from lth_jax.models import layers
from lth_jax.parallel import devices as devices_lib
from lth_jax.parallel import segments, vmapped
from lth_jax.training import loop, schedules, sharding

# To float32 and another order of summation, over 60 steps.
_TOLERANCE = 2e-5
_TODO = tiny.entries(stop=30)


class _Normed(nn.Module):
  """A network whose statistics are of the whole batch."""

  @nn.compact
  def __call__(self, images, train):
    x = layers.convolution(4, use_bias=False)(images)
    x = layers.BatchNorm(train, relu=True)(x)
    return layers.dense(tiny.CLASSES)(x.reshape(len(x), -1))


@functools.cache
def _trainer(num_parts, name="lenet"):
  images = tiny.dataset().train.images
  model, change = tiny.model(), augment.FUNCTIONS["crop_flip"]
  if name == "normed":
    model, change = models.from_linen(_Normed(), tiny.IMAGE), None
  return model, training.make(
    model,
    optim.create("momentum", weight_decay=1e-4),
    scaling.make("unit", images),
    change,
    batch_size=tiny.BATCH * 2,
    eval_batch_size=16,
    num_parts=num_parts,
  )


def _run(model, seed):
  params, stats = jax.device_get(jax.jit(model.init)(tiny.key(seed)))
  rng = np.random.default_rng(seed)
  masks = jax.tree.map(
    lambda leaf: rng.random(leaf.shape) < 0.7 if leaf.ndim > 1 else None, params
  )
  params = jax.tree.map(
    lambda m, p: p if m is None else p * m,
    masks,
    params,
    is_leaf=lambda x: x is None,
  )
  start = loop.Start(params, stats, np.int32(0), masks)
  return tiny.scheduled(start, seed, schedule=schedules.make(0.02))


def _worker(num_parts):
  devices = jax.local_devices()[:num_parts]
  [worker] = devices_lib.make_workers(devices, tiny.data(), num_parts)
  return worker


def _train(num_parts, seeds=(0,), pause=lambda step, points: None):
  model, trainer = _trainer(num_parts)
  return segments.train(
    vmapped.make(trainer, len(seeds)),
    [_worker(num_parts)],
    [_run(model, seed) for seed in seeds],
    _TODO,
    pause=pause,
  )


def _assert_close(found, wanted):
  close = functools.partial(np.testing.assert_allclose, rtol=0, atol=_TOLERANCE)
  for (ours, our_summary), (theirs, their_summary) in zip(
    found, wanted, strict=True
  ):
    one, other = ours.progress.state, theirs.progress.state
    jax.tree.map(close, one.params, other.params)
    jax.tree.map(np.testing.assert_array_equal, one.masks, other.masks)
    for mask, leaf in zip(
      jax.tree.leaves(one.masks),
      [x for x in jax.tree.leaves(one.params) if x.ndim > 1],
    ):
      assert not leaf[~mask].any()
    for a, b in zip(ours.rows, theirs.rows, strict=True):
      if a.evaluate:
        np.testing.assert_allclose(a.valid_loss, b.valid_loss, rtol=1e-4)
        assert abs(a.valid_correct - b.valid_correct) <= 1
    np.testing.assert_allclose(
      our_summary.end.test.loss, their_summary.end.test.loss, rtol=1e-4
    )


def test_a_split_batch_trains_as_a_whole_one():
  _assert_close(_train(4), _train(1))


def test_trials_side_by_side_can_split_their_batches_too():
  together = _train(2, seeds=(0, 1))
  _assert_close(together, [*_train(1), *_train(1, seeds=(1,))])


def test_statistics_of_batch_norm_are_of_whole_batches():
  """After a few steps: behind BatchNorm rounding grows fast."""
  plan = training.plan([3], [False], [False], length=1)
  found = []
  for num_parts in (1, 2):
    model, trainer = _trainer(num_parts, "normed")
    worker = _worker(num_parts)
    with sharding.use(worker.mesh):
      start, *inputs = worker.put(_run(model, 0)[1:5])
      inputs = training.Inputs(worker.data, *inputs)
      progress = trainer.begin(start, inputs.split)
      progress, _ = trainer.advance(progress, plan, inputs)
    found.append(jax.device_get((progress.state.params, progress.state.stats)))
  for one, other in zip(*map(jax.tree.leaves, found)):
    np.testing.assert_allclose(one, other, rtol=0, atol=_TOLERANCE)
  # They would not be, were each half normalised by itself.
  assert any(np.ptp(leaf) > 0.01 for leaf in jax.tree.leaves(found[0][1]))


@pytest.mark.parametrize(("num_parts", "seeds"), [(4, (0,)), (2, (0, 1))])
def test_all_segments_of_a_split_trial_are_one_program(num_parts, seeds):
  pauses = []
  with tiny.segments(0):
    _train(num_parts, seeds, pause=lambda step, points: pauses.append(step))
  assert len(pauses) > 2
  together = vmapped.make(_trainer(num_parts)[1], len(seeds))
  assert together.trainer.advance._cache_size() == 1


def test_each_device_does_its_part_of_the_batch():
  """Products are over a part of the batch, gradients are added up."""
  model, trainer = _trainer(4)
  worker = _worker(4)
  with sharding.use(worker.mesh):
    start, *inputs = worker.put(_run(model, 0)[1:5])
    inputs = training.Inputs(worker.data, *inputs)
    progress = trainer.begin(start, inputs.split)
    plan = segments.plan_of(_TODO[:1])
    lowered = trainer.advance.lower(progress, plan, inputs)
    text = lowered.compile().as_text()
  assert "all-reduce" in text
  part = 2 * tiny.BATCH // 4
  assert re.search(rf"f32\[{part},{tiny.HIDDEN}\]", text)
  assert not re.search(rf"f32\[{2 * tiny.BATCH},{tiny.HIDDEN}\]", text)


def test_workers_are_whole_groups_of_devices():
  assert len(devices_lib.find(0, num_trials=9, batch_devices=3)) == 3
  assert len(devices_lib.find(0, num_trials=1, batch_devices=2)) == 2
  assert len(devices_lib.find(3, num_trials=9, batch_devices=2)) == 2
  workers = devices_lib.make_workers(jax.local_devices()[:4], tiny.data(), 2)
  assert [len(worker.devices) for worker in workers] == [2, 2]
  assert len({*workers[0].devices, *workers[1].devices}) == 4


def test_more_devices_than_there_are_is_one_line():
  with pytest.raises(errors.InputError, match="--batch_devices=60: there are"):
    devices_lib.find(0, num_trials=9, batch_devices=60)
