"""The compiled segments of a training.

A training is cut into segments, `Trainer.advance`, each one compiled program
that trains to the steps of a `Plan` and evaluates there. The cuts change no
bit: the batch order is a function of (key, epoch) and noise of (key, step).
Masks, starts, orders and evaluation steps are arguments, so that nothing
recompiles between rounds, arms or replicates.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lth_jax import models
from lth_jax.data import order
from lth_jax.training import evaluation, schedules, sharding
from lth_jax.training.evaluation import Evaluate, Metrics, Scale
from lth_jax.training.state import (
  Augment,
  Best,
  Data,
  History,
  Inputs,
  Plan,
  Progress,
  Split,
  Start,
  Step,
  Summary,
  Trainer,
  TrainState,
)

# Domain of the keys of steps, folded in before the step: keys of epochs are
# made from the same key, and no epoch has this index.
_NOISE = 2**32 - 1


def make(
  model: models.Model,
  optimizer: optax.GradientTransformationExtraArgs,
  scale: Scale,
  augment: Augment | None = None,
  *,
  batch_size: int,
  eval_batch_size: int = 1000,
  num_parts: int = 1,
) -> Trainer:
  """Returns the functions that train `model`.

  Args:
    model: the network.
    optimizer: made by `optim.create`: takes `masks=` and `learning_rate=` at
      update.
    scale: from uint8 images to the network's input.
    augment: changes the images of a training step.
    batch_size: B, images a step.
    eval_batch_size: images evaluated at once; changes memory and speed only.
    num_parts: devices that each batch is split over, a divisor of B; for more
      than one a mesh must be in use (`sharding.use`).

  Returns:
    Pure functions; `begin` and `advance` compile once for all rounds.

  >>> from lth_jax import optim
  >>> from lth_jax.data import scaling
  >>> images, labels = np.zeros((8, 2, 2, 1), np.uint8), np.arange(8) % 2
  >>> data = Data(images, labels, images[:2], labels[:2])
  >>> model = models.lenet((2, 2, 1), 2, hidden=())
  >>> params, stats = model.init(jax.random.key(0))
  >>> masks = {"Dense_0": {"kernel": jnp.ones((4, 2), bool), "bias": None}}
  >>> optimizer, scale = optim.create("sgd"), scaling.make("unit", images)
  >>> trainer = make(model, optimizer, scale, batch_size=2)
  >>> split = Split(train=jnp.arange(6), valid=jnp.array([6, 7]))
  >>> progress = trainer.begin(Start(params, stats, 0, masks), split)
  >>> todo = plan([0, 5], [True, True], [False, True], length=2)
  >>> inputs = Inputs(data, split, jax.random.key(1), schedules.make(0.1))
  >>> progress, history = trainer.advance(progress, todo, inputs)
  >>> int(progress.state.step), history.test.num_correct
  (5, Array([-1,  1], dtype=int32))
  """
  step = make_step(model, optimizer, scale, augment)
  evaluate = evaluation.make(model, scale, eval_batch_size, num_parts)

  def begin(start: Start, split: Split) -> Progress:
    opt_state = start.opt_state
    if opt_state is None:
      opt_state = optimizer.init(start.params)
    num_batches = order.num_batches(len(split.train), batch_size)
    return _begin(start, opt_state, (num_batches, batch_size))

  def advance(progress, plan, inputs):
    def visit(carry):
      index, progress, history = carry
      target = plan.steps[index]
      progress = _train_towards(step, progress, target, inputs, num_parts)
      arrived = progress.state.step >= target
      progress, row = jax.lax.cond(
        arrived,
        lambda: _measure(evaluate, progress, plan, index, inputs),
        lambda: (progress, jax.tree.map(lambda rows: rows[index], history)),
      )
      history = jax.tree.map(
        lambda rows, value: rows.at[index].set(value), history, row
      )
      return index + arrived, progress, history

    carry = jnp.int32(0), progress, _no_history(len(plan.steps))
    carry = jax.lax.while_loop(lambda c: c[0] < plan.num, visit, carry)
    # Sharded as the arguments are, or the next segment would compile again.
    return sharding.whole(carry[1:], num_parts)

  def summarize(progress, inputs):
    return _summarize(evaluate, progress, inputs.data, inputs.split)

  return Trainer(jax.jit(begin), jax.jit(advance), jax.jit(summarize))


def make_step(
  model: models.Model,
  optimizer: optax.GradientTransformationExtraArgs,
  scale: Scale,
  augment: Augment | None = None,
) -> Step:
  """Returns a training step: state, images, labels, key, rate -> state, loss.

  The gradient is of the mean cross-entropy over the batch; images are uint8
  `[B, H, W, C]`, labels int32 `[B]`, rate and loss float32 `[]`. The key is
  that of the whole training; the step is folded in here. Arguments are as for
  `make`.

  >>> from lth_jax import optim
  >>> from lth_jax.data import scaling
  >>> images, labels = np.zeros((2, 2, 2, 1), np.uint8), np.array([1, 1])
  >>> params = {"Dense_0": {"kernel": jnp.ones((4, 2)), "bias": jnp.zeros(2)}}
  >>> masks = {"Dense_0": {"kernel": jnp.ones((4, 2), bool), "bias": None}}
  >>> optimizer, scale = optim.create("sgd"), scaling.make("unit", images)
  >>> step = make_step(models.lenet((2, 2, 1), 2, ()), optimizer, scale)
  >>> state = TrainState(0, params, {}, optimizer.init(params), masks)
  >>> state, loss = jax.jit(step)(state, images, labels, jax.random.key(1), 0.1)
  >>> loss, state.params["Dense_0"]["bias"]
  (Array(0.6931472, dtype=float32), Array([-0.05,  0.05], dtype=float32))
  """

  def step(state, images, labels, key, learning_rate):
    key = jax.random.fold_in(jax.random.fold_in(key, _NOISE), state.step)
    if augment is not None:
      augment_key, key = jax.random.split(key)
      images = augment(augment_key, images)

    def loss_fn(params):
      logits, stats = model.apply(
        params, state.stats, scale(images), train=True, key=key
      )
      return evaluation.cross_entropy(logits, labels).mean(), stats

    (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      state.params
    )
    updates, opt_state = optimizer.update(
      grads,
      state.opt_state,
      state.params,
      masks=state.masks,
      learning_rate=learning_rate,
    )
    params = optax.apply_updates(state.params, updates)
    state = TrainState(state.step + 1, params, stats, opt_state, state.masks)
    return state, loss

  return step


def plan(
  steps: Sequence[int],
  evaluate: Sequence[bool],
  test: Sequence[bool],
  length: int,
) -> Plan:
  """Returns a plan padded to `length`, so that all plans share shapes.

  Its fields are NumPy arrays; each argument has an item for each entry.

  Raises:
    ValueError: there are more entries than `length`.

  >>> plan([10, 20], [True, True], [False, True], length=3).steps
  array([10, 20,  0], dtype=int32)
  """
  num = len(steps)
  if num > length:
    raise ValueError(f"{num} entries do not fit a plan of {length}")
  return Plan(
    np.pad(np.asarray(steps, np.int32), (0, length - num)),
    np.pad(np.asarray(evaluate, bool), (0, length - num)),
    np.pad(np.asarray(test, bool), (0, length - num)),
    np.array(num, np.int32),
  )


def _begin(start: Start, opt_state, batches: tuple[int, int]) -> Progress:
  """Returns the progress before the first step; `batches` is a shape."""
  step = jnp.asarray(start.step, jnp.int32)
  state = TrainState(step, start.params, start.stats, opt_state, start.masks)
  return Progress(
    state,
    Best(jnp.float32(jnp.inf), step, start.params, start.stats),
    batches=jnp.zeros(batches, jnp.int32),
    epoch=jnp.int32(-1),
    loss_sum=jnp.float32(0),
    loss_steps=jnp.int32(0),
    finite=jnp.bool_(True),
  )


def _train_towards(
  step: Step, progress: Progress, target, inputs: Inputs, num_parts: int
) -> Progress:
  """Trains to `target` or to the end of the epoch, whichever is first."""
  data, split, key, schedule = inputs
  num_batches, batch_size = progress.batches.shape
  epoch = progress.state.step // num_batches
  batches = jax.lax.cond(
    epoch == progress.epoch,
    lambda: progress.batches,
    lambda: order.epoch_order(key, epoch, split.train, batch_size),
  )

  def body(_, carry):
    state, loss_sum, finite = carry
    chosen = sharding.split(batches[state.step % num_batches], num_parts)
    learning_rate = schedules.rate(schedule, state.step)
    state, loss = step(
      state,
      order.take(data.images, chosen),
      data.labels[chosen],
      key,
      learning_rate,
    )
    return state, loss_sum + loss, finite & jnp.isfinite(loss)

  begin = progress.state.step
  end = jnp.minimum(target, (epoch + 1) * num_batches)
  state, loss_sum, finite = jax.lax.fori_loop(
    begin, end, body, (progress.state, progress.loss_sum, progress.finite)
  )
  return progress._replace(
    state=state,
    batches=batches,
    epoch=epoch,
    loss_sum=loss_sum,
    loss_steps=progress.loss_steps + jnp.maximum(end - begin, 0),
    finite=finite,
  )


def _measure(
  evaluate: Evaluate, progress: Progress, plan: Plan, index, inputs: Inputs
) -> tuple[Progress, History]:
  """Evaluates as the plan asks; returns the progress and a row of history."""
  data, split = inputs.data, inputs.split
  state, best = progress.state, progress.best
  here = state.step == plan.steps[index]
  asked = here & plan.evaluate[index]
  valid = jax.lax.cond(
    asked,
    lambda: evaluate(
      state.params, state.stats, data.images, data.labels, split.valid
    ),
    lambda: evaluation.NO_METRIC,
  )
  test = jax.lax.cond(
    here & plan.test[index],
    lambda: _test(evaluate, state.params, state.stats, data),
    lambda: evaluation.NO_METRIC,
  )
  # Strictly below, so the first minimum stays; NaN is never below.
  best = jax.lax.cond(
    valid.loss < best.loss,
    lambda: Best(valid.loss, state.step, state.params, state.stats),
    lambda: best,
  )
  row = History(
    jnp.where(asked, progress.loss_sum / progress.loss_steps, jnp.nan),
    valid,
    test,
  )
  progress = progress._replace(
    best=best,
    loss_sum=jnp.where(asked, 0, progress.loss_sum),
    loss_steps=jnp.where(asked, 0, progress.loss_steps),
  )
  return progress, row


def _summarize(
  evaluate: Evaluate, progress: Progress, data: Data, split: Split
) -> Summary:
  def metrics(weights):
    params, stats = weights
    return Metrics(
      evaluate(params, stats, data.images, data.labels, split.train),
      evaluate(params, stats, data.images, data.labels, split.valid),
      _test(evaluate, params, stats, data),
    )

  best, state = progress.best, progress.state
  ends = (state.params, state.stats), (best.params, best.stats)
  both = jax.lax.map(metrics, jax.tree.map(lambda *x: jnp.stack(x), *ends))
  return Summary(
    jax.tree.map(lambda x: x[0], both), jax.tree.map(lambda x: x[1], both)
  )


def _test(evaluate, params, stats, data):
  indices = jnp.arange(len(data.test_labels), dtype=jnp.int32)
  return evaluate(params, stats, data.test_images, data.test_labels, indices)


def _no_history(length: int) -> History:
  nothing = evaluation.NO_METRIC
  row = History(nothing.loss, nothing, nothing)
  return jax.tree.map(lambda x: jnp.full(length, x), row)
