"""The networks of the paper on random images, for all benchmarks."""

import pathlib
import time

import jax
import numpy as np

from lth_jax import data, pruning, scores
from lth_jax.config import configs, flags, plan
from lth_jax.lottery import rounds
from lth_jax.parallel import devices, segments, vmapped
from lth_jax.runner import build
from lth_jax.training import loop

_FLAGS = pathlib.Path(__file__).parents[1] / "experiments" / "flags"
NETWORKS = ("lenet", "conv2", "conv4", "conv6", "resnet20", "vgg19")
# For steps alone, as torch does them.
FEW_IMAGES = (
  *("--num_train=10000", "--num_valid=100", "--num_test=100"),
  "--augment=none",
)


def config(network: str, *changes: str, scale: str = "paper") -> configs.Config:
  """Returns how a network is trained.

  Args:
    network: one of `NETWORKS`.
    changes: flags that differ from the network's flagfile, `--name=value`.
    scale: of the flagfile, "paper" or "smoke".
  """
  folder = "mnist_lenet" if network == "lenet" else network
  path = _FLAGS / folder / f"{scale}.flags"
  return flags.parse([f"--flagfile={path}", *changes])


def make(asked: configs.Config) -> build.Components:
  """Returns a network and its training on random images."""
  return build.make(asked, _random_images(asked.data.dataset))


def image_shape(dataset: str) -> tuple[int, int, int]:
  """Returns the `(H, W, C)` of a data set."""
  return (28, 28, 1) if dataset.startswith("mnist") else (32, 32, 3)


def _random_images(dataset: str) -> data.Dataset:
  shape = image_shape(dataset)
  rng = np.random.default_rng(0)
  train, test = (
    data.Examples(
      rng.integers(0, 256, (size, *shape), np.uint8),
      rng.integers(0, 10, size).astype(np.int32),
    )
    for size in (60_000 if shape[2] == 1 else 50_000, 10_000)
  )
  return data.Dataset(dataset, train, test, num_classes=10, source="random")


def trial(
  parts: build.Components, density: float = 0.5
) -> segments.ScheduledTrial:
  """Returns a trial, pruned to a share of its weights."""
  start = build.initial_start(parts, 0)
  kept = pruning.prune(scores.magnitude(start.params), start.masks, 1 - density)
  due = plan.Trial(0, 1, "ticket")
  return segments.ScheduledTrial(
    due,
    jax.device_get(rounds.reset(start, kept)),
    parts.split(0),
    build.order_key(parts.config, due),
    parts.schedule,
    plan.steps(parts.config, due),
    origin={},
  )


class Training:
  """Equal trials side by side on one device, trained by hand.

  Attributes:
    program: the compiled functions.
    group: the trials, where they are now.
  """

  def __init__(
    self, parts: build.Components, device: jax.Device, width: int = 1
  ):
    """Puts `width` trials on the device, before their first step."""
    (self._worker,) = devices.make_workers([device], parts.data)
    self._parts = parts
    self.program = vmapped.make(parts.trainer, width)
    self.group = segments.begin(self.program, self._worker, [trial(parts)])

  def restart(self, density: float, rate_factor: float) -> None:
    """Begins again with other masks and other learning rates."""
    other = trial(self._parts, density)
    schedule = other.schedule._replace(peak=other.schedule.peak * rate_factor)
    other = other._replace(schedule=schedule)
    self.group = segments.begin(self.program, self._worker, [other])

  def compile(self) -> dict[str, float | None]:
    """Compiles all later segments; returns the seconds and the memory."""
    segment = segments.plan_of([segments.Entry(1, True, True)])
    trainer, group = self.program.trainer, self.group
    begin = time.perf_counter()
    lowered = trainer.advance.lower(group.progress, segment, group.inputs)
    lower_s = time.perf_counter() - begin
    begin = time.perf_counter()
    advance = lowered.compile()
    compile_s = time.perf_counter() - begin
    self.program = self.program._replace(
      trainer=trainer._replace(advance=advance)
    )
    return {
      "lower_s": lower_s,
      "compile_s": compile_s,
      "program_mib": _mib(advance.memory_analysis()),
    }

  def advance(
    self,
    num_steps: int,
    *,
    evaluate: bool = False,
    test: bool = False,
    times: int = 1,
  ) -> loop.History:
    """Trains on, waits until that is done, and returns what was measured.

    Args:
      num_steps: of each trial; 0 only measures.
      evaluate: whether to evaluate on the validation images after them.
      test: whether to evaluate on the test images after them.
      times: how often to evaluate.
    """
    step = int(self.group.progress.state.step) + num_steps
    segment = segments.plan_of([segments.Entry(step, evaluate, test)] * times)
    self.group, history = segments.advance(self.program, self.group, segment)
    return jax.block_until_ready((history, self.group.progress))[0]

  def summarize(self) -> loop.Summary:
    """Measures on all images, as at the end of a training."""
    summarize = self.program.trainer.summarize
    return jax.block_until_ready(
      summarize(self.group.progress, self.group.inputs)
    )


def _mib(memory) -> float | None:
  """Returns the memory of a program as XLA allocates it; None if unknown."""
  if memory is None:
    return None
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    + memory.temp_size_in_bytes
    - memory.alias_size_in_bytes
  ) / 2**20


def num_trials(config: configs.Config) -> list[int]:
  """Returns the number of trials of each round, of all replicates."""
  return [
    sum(
      len(plan.of_round(config, replicate, index))
      for replicate in plan.replicates(config)
    )
    for index in range(config.study.rounds + 1)
  ]
