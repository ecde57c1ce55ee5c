"""One trial on random images, for all benchmarks."""

from typing import NamedTuple

import jax
import numpy as np

from benchmarks import networks
from lth_jax import masks, optim, pruning, scores, training
from lth_jax.config import plan
from lth_jax.data import scaling
from lth_jax.parallel import segments
from lth_jax.training import schedules


class Problem(NamedTuple):
  """The parts of a trial, and the images."""

  trainer: training.Trainer
  start: training.Start
  data: training.Data
  sample: training.Split
  key: jax.Array
  schedule: schedules.Schedule

  def scheduled(self) -> segments.ScheduledTrial:
    """Returns the trial as `segments.train` takes it."""
    return segments.ScheduledTrial(
      plan.Trial(0, 1, "ticket"),
      self.start,
      self.sample,
      self.key,
      self.schedule,
      origin={},
    )


def make(
  network: networks.Network, *, train: int, valid: int = 100, test: int = 100
) -> Problem:
  """Returns a trial at density 0.5 and the given numbers of images."""
  rng = np.random.default_rng(0)
  shape = train + valid + test, *network.image_shape
  images = rng.integers(0, 256, shape, np.uint8)
  labels = rng.integers(0, 10, shape[0]).astype(np.int32)
  model = networks.model(network)
  params, stats = jax.device_get(jax.jit(model.init)(jax.random.key(0)))
  kept = pruning.prune(scores.magnitude(params), masks.full(params), 0.5)
  start = training.Start(masks.apply(params, kept), stats, np.int32(0), kept)
  trainer = training.make(
    model,
    optim.create(network.optimizer, weight_decay=network.weight_decay),
    scaling.make("unit", images),
    batch_size=network.batch_size,
  )
  known = train + valid
  index = np.arange(known, dtype=np.int32)
  return Problem(
    trainer,
    jax.device_get(start),
    training.Data(
      images[:known], labels[:known], images[known:], labels[known:]
    ),
    training.Split(index[:train], index[train:]),
    jax.random.key(1),
    schedules.make(network.learning_rate),
  )
