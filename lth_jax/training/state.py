"""The types of a training: its start, its state, its inputs and its results.

All are pytrees of arrays, but for the functions at the end.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax.training.evaluation import Metric, Metrics
from lth_jax.training.schedules import Schedule

PyTree = Any
Array = jax.Array | np.ndarray


class Start(NamedTuple):
  """Where a training begins.

  Attributes:
    params: weights; zero where pruned.
    stats: statistics that are not trained, reset with the weights.
    step: [] int32; 0, or k after late rewinding: schedule and batch order
      continue from there.
    masks: pytree like params, True = kept, None at leaves never pruned.
    opt_state: state of the optimizer; None for a fresh one. What it has of
      pruned weights moves nothing: `optim.masked` freezes them.
  """

  params: PyTree
  stats: PyTree
  step: Array
  masks: PyTree
  opt_state: PyTree = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """The state that a training step maps to the next; see `Start`."""

  step: Array
  params: PyTree
  stats: PyTree
  opt_state: PyTree
  masks: PyTree


class Data(NamedTuple):
  """Images on a device, shared by all trials there.

  Attributes:
    images: uint8 `[N, H, W, C]`, to train on and to validate.
    labels: int32 `[N]`.
    test_images: uint8 `[M, H, W, C]`.
    test_labels: int32 `[M]`.
  """

  images: Array
  labels: Array
  test_images: Array
  test_labels: Array


class Split(NamedTuple):
  """Indices into the training images: `[T]` and `[V]` int32."""

  train: jax.Array
  valid: jax.Array


class Inputs(NamedTuple):
  """All that a training reads and never changes.

  Attributes:
    data: the images.
    split: the indices to train on and to validate on.
    key: of batch order, augmentation and dropout.
    schedule: the learning rate.
  """

  data: Data
  split: Split
  key: jax.Array
  schedule: Schedule


class Plan(NamedTuple):
  """Steps to train to, in order, and what to measure at each, `[E]`.

  Attributes:
    steps: int32, not decreasing; training pauses at each. Nothing is measured
      at a step that the training has already passed.
    evaluate: bool, whether to evaluate on the validation images and to report
      the mean training loss since the last evaluation.
    test: bool, whether to evaluate on the test images.
    num: [] int32, how many of the E entries count.
  """

  steps: Array
  evaluate: Array
  test: Array
  num: Array


class History(NamedTuple):
  """Measurements of a segment at each entry of its plan, `[E]`.

  Attributes:
    train_loss: mean over the steps since the last evaluation; NaN without one.
    valid: NaN and -1 where the plan did not ask.
    test: NaN and -1 where the plan did not ask.
  """

  train_loss: Array
  valid: Metric
  test: Metric


class Best(NamedTuple):
  """The first minimum of validation loss so far, for early stopping."""

  loss: Array
  step: Array
  params: PyTree
  stats: PyTree


class Progress(NamedTuple):
  """A training between two segments; all that continuing it needs.

  Attributes:
    state: the training state.
    best: the early-stopping point so far.
    batches: [num_batches, B] int32, the order of the epoch `epoch`.
    epoch: [] int32; -1 before the first.
    loss_sum: [] float32, training loss summed since the last evaluation.
    loss_steps: [] int32, the steps in `loss_sum`.
    finite: [] bool, whether every training loss so far was finite.
  """

  state: TrainState
  best: Best
  batches: Array
  epoch: Array
  loss_sum: Array
  loss_steps: Array
  finite: Array


class Summary(NamedTuple):
  """Metrics at the end of a training and at its early-stopping step."""

  end: Metrics
  early_stop: Metrics


# (key, uint8 images [B, H, W, C]) -> uint8 images of the same shape
Augment = Callable[[jax.Array, jax.Array], jax.Array]
# (state, images, labels, key, learning rate []) -> (state, loss [])
Step = Callable[
  [TrainState, Array, Array, jax.Array, Any], tuple[TrainState, jax.Array]
]


class Trainer(NamedTuple):
  """The compiled functions of one configuration.

  Attributes:
    begin: (start, split) -> Progress.
    advance: (progress, plan, inputs) -> (Progress, History).
    summarize: (progress, inputs) -> Summary.
  """

  begin: Callable[[Start, Split], Progress]
  advance: Callable[[Progress, Plan, Inputs], tuple[Progress, History]]
  summarize: Callable[[Progress, Inputs], Summary]
