"""How fast lanes train here, measured; and how long a lane will take."""

import collections
import concurrent.futures
import time
from collections.abc import Sequence

import jax
import numpy as np

from lth_jax import evaluation, execution, processes
from lth_jax import lockstep as lockstep_lib
from lth_jax.execution import Speed
from lth_jax.lanes import Lane
from lth_jax.workers import Worker

# How long steps are timed, unless one takes longer.
_MEASURE_SECONDS = 0.5


def measure(
  lockstep: lockstep_lib.Lockstep,
  workers: Sequence[Worker],
  run: execution.Run,
  store: float,
) -> Speed:
  """Compiles for every device and times it with all of them busy.

  Nothing that is trained here is kept.

  Args:
    lockstep: the compiled functions.
    workers: the devices.
    run: any lane; shapes matter, values do not.
    store: seconds that storing a lane takes, measured before.

  Returns:
    The mean over devices, of the slowest process.
  """
  with processes.together():
    timers = [
      _timer(lockstep, worker, run) for worker in workers if worker.is_here
    ]
  with concurrent.futures.ThreadPoolExecutor(len(timers)) as threads:

    def seconds(num_steps: int, test: bool) -> float:
      with processes.together():
        timed = [*threads.map(lambda timer: timer(num_steps, test), timers)]
      # As the slowest process has it, so that all go on alike.
      return float(max(processes.gather(np.array(np.mean(timed)))))

    seconds(1, True)  # compiles
    rough = min(seconds(1, False) for _ in range(2))
    num_steps = max(1, int(_MEASURE_SECONDS / rough))
    step = seconds(num_steps, False) / num_steps
    test = seconds(0, True)
    if test < _MEASURE_SECONDS:
      test = min(test, seconds(0, True))
  num_test = len(next(x.data for x in workers if x.is_here).test_labels)
  return Speed(step, test / num_test, store)


def estimate(
  todo: Sequence[execution.Entry],
  num_images: evaluation.NumImages,
  speed: Speed,
  width: int = 1,
) -> float:
  """Predicts the seconds of lanes that are trained together.

  Args:
    todo: their entries.
    num_images: how many there are.
    speed: measured.
    width: how many lanes.

  >>> todo = [execution.Entry(0, True, False), execution.Entry(100, True, True)]
  >>> num_images = evaluation.NumImages(train=60, valid=10, test=20)
  >>> estimate(todo, num_images, Speed(step=0.5, image=0.01))
  52.2
  """
  num_steps = todo[-1].step - todo[0].step
  images = 2 * sum(num_images)  # the summary
  for entry in todo:
    images += num_images.valid * entry.evaluate + num_images.test * entry.test
  return num_steps * speed.step + images * speed.image + width * speed.store


def estimate_all(
  lanes: Sequence[Lane], num_at_once: int, seconds: float, store: float = 0.0
) -> float:
  """Predicts the seconds of several lanes of equal length.

  Devices idle where no lane is ready: a replicate's tickets, and the searches
  that lead to them, follow one another; and one lane is stored at a time.

  Args:
    lanes: what is to be trained.
    num_at_once: how many of them on all devices.
    seconds: what one takes, or several that are trained together.
    store: seconds of these in which one is stored.

  >>> lanes = [Lane(0, index, "ticket") for index in range(3)]
  >>> estimate_all(lanes, num_at_once=2, seconds=10.0)
  30.0
  >>> lanes += [Lane(1, index, "ticket") for index in range(3)]
  >>> estimate_all([*lanes, Lane(0, 1, "reinit", 0)], 2, seconds=10.0)
  40.0
  """
  chains = collections.Counter(
    lane.replicate for lane in lanes if lane.arm in ("ticket", "search")
  )
  longest = max(chains.values(), default=0)
  waves = max(longest, -(-len(lanes) // num_at_once))
  return max(waves * seconds, len(lanes) * store)


def _timer(lockstep, worker, run):
  """Returns a function that times some steps, and a test if asked to."""
  stack = execution.begin(lockstep, worker, [run])

  def seconds(num_steps: int, test: bool) -> float:
    nonlocal stack
    step = int(stack.progress.state.step)
    plan = execution.plan_of([execution.Entry(step + num_steps, False, test)])
    begin = time.perf_counter()
    stack, _ = execution.advance(lockstep, stack, plan)
    jax.block_until_ready(stack.progress)
    return time.perf_counter() - begin

  return seconds
