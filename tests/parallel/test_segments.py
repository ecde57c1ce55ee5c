"""Trials in segments: bits do not depend on the device or on the cuts."""

import gc

import jax
import numpy as np
import pytest
from helpers import tiny

from lth_jax.parallel import segments
from lth_jax.parallel.segments import Entry
from lth_jax.training import loop


@pytest.fixture(scope="module")
def undisturbed():
  """A trial trained in one go on the first device."""
  return tiny.train(tiny.start(density=0.5), tiny.entries())


def train_and_note(todo, seconds):
  """The same trial, and the steps at which it paused."""
  steps = []
  found = tiny.train(
    tiny.start(density=0.5),
    todo,
    seconds=seconds,
    pause=lambda point: steps.append(point.rows[-1].step),
  )
  return found, steps


def assert_same_run(one, other):
  tiny.assert_equal_bits(
    (one[0].progress, one[1]), (other[0].progress, other[1])
  )
  assert one[0].rows == other[0].rows


def test_entries_are_evaluations_and_tests():
  found = segments.entries(0, 25, 10, 20)
  assert found == [
    Entry(0, True, True),
    Entry(10, True, False),
    Entry(20, True, True),
    Entry(25, True, True),  # the last step is always measured
  ]


def test_entries_of_a_late_start_are_on_the_grid_of_the_whole_run():
  whole = segments.entries(0, 40, 10, 20)
  late = segments.entries(13, 40, 10, 20)
  assert late[0] == Entry(13, True, True)
  assert late[1:] == [entry for entry in whole if entry.step > 13]


def test_evaluations_rarer_than_the_run_is_long_are_at_its_ends():
  assert segments.entries(0, 5, 10, 10) == [
    Entry(0, True, True),
    Entry(5, True, True),
  ]


def test_rows_hold_what_their_entries_ask_for(undisturbed):
  rows = undisturbed[0].rows
  wanted = [tuple(x) for x in tiny.entries() if x.evaluate or x.test]
  assert [row[:3] for row in rows] == wanted  # none of a pause
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


def test_the_length_of_segments_changes_no_bit(undisturbed):
  paused = {}
  for seconds in (0, 0.01, 1e9):
    found, paused[seconds] = train_and_note(tiny.entries(), seconds)
    assert_same_run(found, undisturbed)
  assert paused[0] == [*range(61)]
  assert paused[1e9] == [0, 1, 60]


def steps_of_segments(todo, seconds, of_step, of_evaluation=0.0):
  """Steps at which segments end on a machine of this speed."""
  took, step, ends = [], 0, []
  with tiny.segments(seconds):
    while todo:
      piece = segments.next_segment(todo, step, took)
      assert len(piece) <= segments.SEGMENT_ENTRIES
      assert [x for x in piece if x in todo] == todo[: len(piece)] or (
        len(piece) == 1 and step < piece[0].step < todo[0].step
      )
      num, step = piece[-1].step - step, piece[-1].step
      evaluations = sum(x.evaluate for x in piece)
      took.append((num, num * of_step + evaluations * of_evaluation))
      todo = [x for x in todo if x.step > step]
      ends.append(step)
  return ends


@pytest.mark.parametrize("eval_every", [1, 7, 10, 100, 1000])
@pytest.mark.parametrize("of_step", [1e-4, 0.02, 0.13, 1.4, 60.0])
@pytest.mark.parametrize("of_evaluation", [0.0, 0.1])
def test_segments_last_about_as_long_as_they_should(
  eval_every, of_step, of_evaluation
):
  todo = segments.entries(0, 1000, eval_every, 1000)
  ends = steps_of_segments(todo, 1.5, of_step, of_evaluation)
  assert ends[0] <= 1 and ends[-1] == 1000
  steps = np.diff(ends)
  evaluated = np.diff([sum(x.step <= end for x in todo) for end in ends])
  seconds = steps * of_step + evaluated * of_evaluation
  # A step and its evaluation cannot be cut; 32 entries are all that fits.
  assert max(seconds) <= 3 * 1.5 + of_step + of_evaluation
  most = max(3, 1.5 * sum(seconds))
  full = len(todo) / segments.SEGMENT_ENTRIES
  assert len(ends) <= min(len(todo) + most, most + full + 3)


def test_the_first_segment_which_compiles_does_not_count():
  todo = segments.entries(0, 1000, 1000, 1000)[1:]
  slow_first = [(0, 500.0), (100, 1.0)]
  assert segments.next_segment(todo, 100, slow_first)[0].step == 250
  assert segments.next_segment(todo, 0, [])[0].step == 1
  assert segments.next_segment(todo, 0, [(0, 0.0), (0, 0.0)])[0].step == 1


def test_a_segment_has_a_limited_number_of_entries():
  _, paused = train_and_note(tiny.entries(pause_every=1), 1e9)
  assert paused == [1, 2, 34, 60]


@pytest.mark.parametrize("device", [0, 1])
def test_resuming_at_any_pause_changes_no_bit(undisturbed, device):
  start, todo = tiny.start(density=0.5), tiny.entries()
  saved = []
  tiny.train(
    start,
    todo,
    seconds=0,
    pause=lambda checkpoint: saved.append(jax.device_get(checkpoint)),
  )
  assert len(saved) == 61
  # The last has nothing left to train.
  for checkpoint in saved[::7] + saved[-1:]:
    found = tiny.train(start, todo, resume=checkpoint, device=device)
    assert_same_run(found, undisturbed)


def test_a_pause_may_stop_the_run():
  class StopError(Exception):
    pass

  def pause(checkpoint):
    raise StopError

  with pytest.raises(StopError):
    tiny.train(tiny.start(), tiny.entries(), pause=pause)


def test_memory_in_use_does_not_grow_with_steps():
  """A trial holds its progress; older arrays are released."""
  gc.collect()
  before, seen = _live_bytes(), []
  checkpoint, _ = tiny.train(
    tiny.start(),
    tiny.entries(stop=20),
    seconds=0,
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
  return sum(array.nbytes for array in jax.live_arrays())


def test_memory_of_a_program_grows_with_trials_not_with_images():
  width = 4
  vmapped = tiny.stacked(width)

  def temporary(copies):
    """Bytes of a program, without its arguments and results."""
    images = jax.tree.map(lambda x: np.concatenate([x] * copies), tiny.data())
    split = jax.tree.map(lambda x: np.concatenate([x] * copies), tiny.sample())
    due = tiny.scheduled(tiny.start(), split=split)
    start, split, key, schedule = (vmapped.stack([x] * width) for x in due[1:5])
    progress = vmapped.trainer.begin(start, split)
    plan = segments.plan_of(tiny.entries()[:2])
    inputs = loop.Inputs(images, split, key, schedule)
    lowered = vmapped.trainer.advance.lower(progress, plan, inputs)
    return lowered.compile().memory_analysis().temp_size_in_bytes, progress

  few, progress = temporary(1)
  many, _ = temporary(21)
  state = sum(x.nbytes for x in jax.tree.leaves(progress))
  evaluated = 16 * (np.prod(tiny.IMAGE) + tiny.HIDDEN + tiny.CLASSES) * 4
  assert few <= 4 * state + 8 * width * evaluated
  # An epoch's order is drawn by sorting random numbers, a few each.
  more_images = 20 * tiny.NUM.train
  assert many - few <= 32 * width * more_images
