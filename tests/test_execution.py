"""Lanes on devices: the bits do not tell where and in how many pieces."""

import gc
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny

from lth_jax import data, errors, evaluation, execution, training
from lth_jax import devices as devices_lib
from lth_jax import speed as speed_lib
from lth_jax import workers as workers_lib
from lth_jax.execution import Entry

SLOW = execution.Speed(step=0.1, image=0.001)


@pytest.fixture(scope="module")
def undisturbed():
  """A lane trained in one go on the first device."""
  return tiny.train(tiny.start(density=0.5), tiny.entries())


def train_and_note(todo, speed):
  """The same lane, and the steps at which it paused."""
  steps = []
  found = tiny.train(
    tiny.start(density=0.5),
    todo,
    speed=speed,
    pause=lambda checkpoint: steps.append(checkpoint.rows[-1].step),
  )
  return found, steps


def assert_same_run(one, other):
  tiny.assert_equal_bits(
    (one[0].progress, one[1]), (other[0].progress, other[1])
  )
  assert one[0].rows == other[0].rows


def test_entries_are_evaluations_tests_and_pauses():
  found = execution.entries(0, 25, 10, 20, 8)
  assert found == [
    Entry(0, True, True),
    Entry(8, False, False),
    Entry(10, True, False),
    Entry(16, False, False),
    Entry(20, True, True),
    Entry(24, False, False),
    Entry(25, True, True),  # the last step is always measured
  ]


def test_entries_of_a_late_start_are_on_the_grid_of_the_whole_run():
  whole = execution.entries(0, 40, 10, 20, 8)
  late = execution.entries(13, 40, 10, 20, 8)
  assert late[0] == Entry(13, True, True)
  assert late[1:] == [entry for entry in whole if entry.step > 13]


def test_evaluations_rarer_than_the_run_is_long_are_at_its_ends():
  assert execution.entries(0, 5, 10, 10, 10) == [
    Entry(0, True, True),
    Entry(5, True, True),
  ]


def test_rows_are_what_was_asked_for(undisturbed):
  rows = undisturbed[0].rows
  assert [row[:3] for row in rows] == [tuple(e) for e in tiny.entries()]
  for row in rows:
    assert (row.valid_loss is not None) == row.evaluate
    assert (row.valid_correct >= 0) == row.evaluate
    assert (row.test_loss is not None) == row.test
    assert (row.test_correct >= 0) == row.test
    assert (row.train_loss is not None) == (row.evaluate and row.step > 0)
    assert row.valid_correct <= tiny.NUM.valid
    assert row.test_correct <= tiny.NUM.test


def test_the_result_is_on_the_host(undisturbed):
  checkpoint, summary = undisturbed
  leaves = jax.tree.leaves((checkpoint.progress, summary))
  assert not any(isinstance(leaf, jax.Array) for leaf in leaves)


def test_devices_give_equal_bits(undisturbed):
  start = tiny.start(density=0.5)
  assert_same_run(tiny.train(start, tiny.entries(), device=1), undisturbed)


def test_speed_decides_the_segments_and_no_bit(undisturbed):
  paused = {}
  for speed in (tiny.FAST, tiny.SPEED, SLOW):
    found, paused[speed] = train_and_note(tiny.entries(), speed)
    assert_same_run(found, undisturbed)
  assert paused[tiny.FAST] == [60]
  # A segment takes 1.5 s: 15 steps, less what evaluations and tests take.
  assert max(np.diff([0, *paused[SLOW]])) <= 15 and paused[SLOW][-1] == 60


def test_a_segment_holds_at_most_what_its_program_does():
  _, paused = train_and_note(tiny.entries(pause_every=1), tiny.FAST)
  assert paused == [31, 60]  # 32 entries, the first of them step 0


@pytest.mark.parametrize("device", [0, 1])
def test_resuming_at_any_pause_changes_no_bit(undisturbed, device):
  start, todo = tiny.start(density=0.5), tiny.entries()
  saved = []
  tiny.train(
    start,
    todo,
    speed=SLOW,
    pause=lambda checkpoint: saved.append(jax.device_get(checkpoint)),
  )
  assert len(saved) >= 4
  for checkpoint in saved:  # the last has nothing left to train
    found = tiny.train(start, todo, resume=checkpoint, device=device)
    assert_same_run(found, undisturbed)


def test_a_pause_may_stop_the_run():
  class StopError(Exception):
    pass

  def pause(checkpoint):
    raise StopError

  with pytest.raises(StopError):
    tiny.train(tiny.start(), tiny.entries(), pause=pause)


def test_estimate_is_steps_and_images():
  todo = [
    Entry(10, True, True),
    Entry(20, True, False),
    Entry(25, False, False),
    Entry(40, True, True),
  ]
  num_images = evaluation.NumImages(train=100, valid=10, test=7)
  speed = execution.Speed(step=2.0, image=0.5)
  # 30 steps; 3 evaluations, 2 tests, and the summary of two sets of weights.
  images = 3 * 10 + 2 * 7 + 2 * 117
  assert speed_lib.estimate(todo, num_images, speed) == 60 + images / 2


def test_there_are_four_devices_here():
  devices = jax.local_devices()
  assert devices_lib.find(0, 100) == devices
  assert devices_lib.find(0, 2) == devices[:2]
  assert devices_lib.find(3, 100) == devices[:3]
  assert devices_lib.find(5, 1) == devices[:1]


def test_more_devices_than_there_are_is_an_error():
  with pytest.raises(errors.InputError, match=r"--devices=5: there are 4"):
    devices_lib.find(5, 100)


def test_host_devices_are_made_for_the_lanes_that_there_are():
  """In a fresh process; more than the lanes, but not than the CPUs."""
  cpus = devices_lib.usable_cpus()
  program = "; ".join(
    (
      "import sys, jax",
      "from lth_jax import devices",
      "print(len(devices.find(*map(int, sys.argv[1:]))))",
    )
  )
  for wanted, num_lanes, num in ((3, 1, 1), (0, 99, cpus), (cpus, 99, cpus)):
    found = subprocess.run(
      [sys.executable, "-c", program, str(wanted), str(num_lanes)],
      capture_output=True,
      text=True,
      check=False,
    )
    assert found.stdout.strip() == str(num), found.stderr


def test_a_first_run_of_few_lanes_limits_no_later_one():
  program = (
    "from lth_jax import devices; print(len(devices.find(1, 1)), "
    "len(devices.find(0, 99)))"
  )
  found = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, check=False
  )
  expected = f"1 {devices_lib.usable_cpus()}"
  assert found.stdout.strip() == expected, found.stderr


def test_every_device_has_the_images():
  workers = workers_lib.make(jax.local_devices()[:3], tiny.data())
  assert len(workers) == 3
  for worker, device in zip(workers, jax.local_devices()):
    assert worker.devices == (device,)
    assert all(array.devices() == {device} for array in worker.data)
    tiny.assert_equal_bits(worker.data, tiny.data())


def test_host_devices_share_the_images_of_a_data_set():
  loaded = data.load("mnist_10k")
  arrays = training.Data(*loaded.train, *loaded.test)
  for worker in workers_lib.make(jax.local_devices()[:2], arrays):
    for array, placed in zip(arrays, worker.data):
      assert placed.unsafe_buffer_pointer() == array.ctypes.data


def test_speed_is_measured_on_busy_devices():
  workers = workers_lib.make(jax.local_devices()[:2], tiny.data())
  run = execution.Run(tiny.start(), tiny.sample(), tiny.key(), tiny.SCHEDULE)
  speed = speed_lib.measure(tiny.alone(), workers, run, store=0.25)
  assert 0 < speed.step < 1 and 0 < speed.image < 1
  assert type(speed.step) is float and speed.store == 0.25


def test_memory_in_use_does_not_grow_with_steps():
  """A lane holds its progress; what was before a segment is let go."""
  before, seen = _live_bytes(), []
  checkpoint, _ = tiny.train(
    tiny.start(),
    tiny.entries(),
    speed=SLOW,
    pause=lambda checkpoint: seen.append(_live_bytes() - before),
  )
  assert len(seen) >= 4
  images = sum(array.nbytes for array in tiny.data())
  progress = sum(x.nbytes for x in jax.tree.leaves(checkpoint.progress))
  sample = sum(x.nbytes for x in tiny.sample())
  small = 4096  # key, plan, history
  assert max(seen) <= images + 2 * progress + sample + small
  assert max(seen) - min(seen) <= small


def _live_bytes():
  gc.collect()
  return sum(array.nbytes for array in jax.live_arrays())


@pytest.mark.parametrize("lanes", ["alone", "stacked"])
def test_memory_of_a_program_grows_with_lanes_not_with_images(lanes):
  width = 1 if lanes == "alone" else 4
  lockstep = tiny.alone() if lanes == "alone" else tiny.stacked(4)

  def temporary(copies):
    """Bytes that the program takes beside what goes in and comes out."""
    images = jax.tree.map(lambda x: np.concatenate([x] * copies), tiny.data())
    sample = jax.tree.map(lambda x: np.concatenate([x] * copies), tiny.sample())
    run = execution.Run(tiny.start(), sample, tiny.key(), tiny.SCHEDULE)
    start, sample, key, schedule = (
      lockstep.stack([x] * width) for x in run[:4]
    )
    progress = lockstep.trainer.begin(start, sample)
    plan = execution.plan_of(tiny.entries()[:2])
    lowered = lockstep.trainer.advance.lower(
      progress, plan, images, sample, key, schedule
    )
    return lowered.compile().memory_analysis().temp_size_in_bytes, progress

  few, progress = temporary(1)
  many, _ = temporary(21)
  state = sum(x.nbytes for x in jax.tree.leaves(progress))
  evaluated = 16 * (np.prod(tiny.IMAGE) + tiny.HIDDEN + tiny.CLASSES) * 4
  assert few <= 4 * state + 8 * width * evaluated
  # An epoch's order is drawn by sorting random numbers, a few a lane and image.
  more_images = 20 * tiny.NUM.train
  assert many - few <= 32 * width * more_images
