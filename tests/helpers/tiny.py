"""A problem so small that compiling takes longer than training."""

import contextlib
import functools
from unittest import mock

import jax
import numpy as np

from lth_jax import masks as masks_lib
from lth_jax import models, optim
from lth_jax.config.plan import Trial
from lth_jax.data import Dataset, Examples, order, scaling
from lth_jax.parallel import devices, vmapped
from lth_jax.parallel import segments as segments_lib
from lth_jax.training import evaluation, loop, schedules

IMAGE, CLASSES, HIDDEN, BATCH = (8, 8, 1), 3, 8, 10
# 16 batches an epoch, 3 images are left over; 37 and 50 are no multiples of
# the 16 images that are evaluated at once.
NUM = evaluation.NumImages(train=163, valid=37, test=50)
SCHEDULE = schedules.make(0.01)


@functools.cache
def dataset(image=IMAGE):
  """Noisy copies of one pattern a class: 200 to train on, 50 to test on."""
  rng = np.random.default_rng(0)
  patterns = rng.integers(0, 256, (CLASSES, *image))

  def split(size):
    labels = rng.integers(0, CLASSES, size, dtype=np.int32)
    images = patterns[labels] // 2 + rng.integers(0, 128, (size, *image))
    return Examples(images.astype(np.uint8), labels)

  return Dataset(
    "tiny", split(NUM.train + NUM.valid), split(NUM.test), CLASSES, "made"
  )


def data():
  """Its arrays."""
  return loop.Data(*dataset().train, *dataset().test)


def key(seed=0):
  return jax.random.key(seed, impl="threefry2x32")


@functools.cache
def sample(seed=0):
  return jax.device_get(
    loop.Split(
      *order.split_indices(key(seed), NUM.train + NUM.valid, NUM.valid)
    )
  )


@functools.cache
def model():
  lenet = models.lenet(IMAGE, CLASSES, (HIDDEN,))
  return lenet._replace(init=jax.jit(lenet.init))


@functools.cache
def trainer():
  """The compiled functions that most tests share."""
  return loop.make(
    model(),
    optim.create("adam"),
    scaling.make("unit", dataset().train.images),
    batch_size=BATCH,
    eval_batch_size=16,
  )


@functools.cache
def _initial(seed):
  return jax.device_get(model().init(key(seed)))


def start(seed=0, *, density=1.0, step=0):
  """Weights of a seed, under random masks of about a density."""
  params, stats = _initial(seed)
  rng = np.random.default_rng(seed)
  masks = jax.tree.map(
    lambda leaf: rng.random(leaf.shape) < density if leaf.ndim > 1 else None,
    params,
  )
  params = jax.device_get(masks_lib.apply(params, masks))
  return loop.Start(params, stats, np.int32(step), masks)


def entries(start=0, stop=60, pause_every=7):
  """Evaluations and tests, and pauses between them."""
  found = {x.step: x for x in segments_lib.entries(start, stop, 10, 20)}
  for step in range(0, stop, pause_every):
    if step > start:
      found.setdefault(step, segments_lib.Entry(step, False, False))
  return [found[step] for step in sorted(found)]


def segments(seconds):
  """Makes segments as long as fits into some seconds: 0 is a step each."""
  return mock.patch.object(segments_lib, "SEGMENT_SECONDS", seconds)


def worker(device=0):
  return devices.make_workers([jax.local_devices()[device]], data())[0]


def alone():
  return vmapped.make(trainer(), 1)


@functools.cache
def stacked(width):
  return vmapped.make(trainer(), width)


def scheduled(start, seed=0, **changed):
  """A trial that is due, with the split and the key of a seed."""
  trial = Trial(0, seed, "ticket")
  due = segments_lib.ScheduledTrial(
    trial,
    start,
    sample(seed),
    key(seed),
    SCHEDULE,
    range(int(start.step), 60),
    origin={},
  )
  return due._replace(**changed)


def train(
  trial_start,
  todo,
  *,
  seed=0,
  device=0,
  seconds=1e9,
  resume=None,
  pause=lambda point: None,
):
  """`segments_lib.train` of one trial with the shared trainer."""
  due = scheduled(trial_start, key=key(seed), resume_point=resume)
  with segments(seconds):
    (finished,) = segments_lib.train(
      alone(),
      [worker(device)],
      [due],
      todo,
      pause=lambda rows, points: pause(*points()),
    )
  return finished


def quick_jit(function, **options):
  """`jax.jit` without LLVM's optimizations: half the time to compile."""
  levels = {"xla_backend_optimization_level": 0}
  return jax.jit(function, compiler_options=levels, **options)


@contextlib.contextmanager
def compilations():
  """A list of what XLA compiles meanwhile."""
  events = []

  def note(event, duration, **_):
    if event == "/jax/core/compile/backend_compile_duration":
      events.append(duration)

  jax.monitoring.register_event_duration_secs_listener(note)
  try:
    yield events
  finally:
    jax.monitoring.unregister_event_duration_listener(note)


def assert_equal_bits(one, other):
  """Equal structure, dtypes, shapes and bytes of all leaves."""
  one, other = jax.device_get((one, other))
  assert jax.tree.structure(one) == jax.tree.structure(other)
  for (path, a), b in zip(
    jax.tree.leaves_with_path(one), jax.tree.leaves(other)
  ):
    a, b = np.asarray(a), np.asarray(b)
    name = jax.tree_util.keystr(path)
    assert (a.dtype, a.shape) == (b.dtype, b.shape), name
    assert a.tobytes() == b.tobytes(), name
