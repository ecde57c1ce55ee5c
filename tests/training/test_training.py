"""Training against NumPy, and against a network that follows a script."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import tiny

from lth_jax import errors, models, optim, training
from lth_jax.data import order, scaling
from lth_jax.parallel import segments
from lth_jax.training import evaluation

NUM_STEPS = 80  # five epochs of `tiny`


# A network of one hidden layer in float64, by hand.


def forward(params, images):
  x = images.reshape(len(images), -1) / 255
  hidden = x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
  active = np.maximum(hidden, 0)
  logits = active @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]
  return x, active, logits


def losses(logits, labels):
  shifted = logits - logits.max(1, keepdims=True)
  log_sum = np.log(np.exp(shifted).sum(1))
  return log_sum - shifted[np.arange(len(labels)), labels]


def gradients(params, images, labels):
  """Mean loss and its gradient."""
  x, active, logits = forward(params, images)
  wrong = np.exp(logits - logits.max(1, keepdims=True))
  wrong /= wrong.sum(1, keepdims=True)
  wrong[np.arange(len(labels)), labels] -= 1
  wrong /= len(labels)
  back = (wrong @ params["Dense_1"]["kernel"].T) * (active > 0)
  return losses(logits, labels).mean(), {
    "Dense_0": {"kernel": x.T @ back, "bias": back.sum(0)},
    "Dense_1": {"kernel": active.T @ wrong, "bias": wrong.sum(0)},
  }


def update(name, rate, grad, moments, step):
  """The change of a weight and the new moments; `step` counts from 1."""
  first, second = moments
  if name == "sgd":
    return -rate * grad, moments
  if name == "adam":
    first = 0.9 * first + 0.1 * grad
    second = 0.999 * second + 0.001 * grad**2
    corrected = np.sqrt(second / (1 - 0.999**step)) + 1e-8
    return -rate * first / (1 - 0.9**step) / corrected, (first, second)
  trace = grad + 0.9 * first
  change = grad + 0.9 * trace if name == "nesterov" else trace
  return -rate * change, (trace, second)


def numpy_train(name, rate, params, masks, batches):
  """Returns the weights after training and the loss of each step."""
  params = jax.tree.map(np.float64, params)
  names = [(layer, leaf) for layer in params for leaf in params[layer]]
  moments = dict.fromkeys(names, (0.0, 0.0))
  seen = []
  for step, batch in enumerate(batches, start=1):
    images = tiny.dataset().train.images[batch]
    loss, grads = gradients(params, images, tiny.dataset().train.labels[batch])
    seen.append(loss)
    for layer, leaf in names:
      mask = masks[layer][leaf]
      grad = grads[layer][leaf] * (1 if mask is None else mask)
      change, moments[layer, leaf] = update(
        name, rate, grad, moments[layer, leaf], step
      )
      params[layer][leaf] = params[layer][leaf] + change
  return params, seen


def inputs(**changed):
  """What a training reads, of `tiny`."""
  made = training.Inputs(tiny.data(), tiny.sample(), tiny.key(), tiny.SCHEDULE)
  return made._replace(**changed)


def expected_batches(num_steps, seed=0):
  """`[num_steps, B]` indices, as the order's own tests have them."""
  indices = jnp.asarray(tiny.sample().train)
  epochs = [
    order.epoch_order(tiny.key(seed), epoch, indices, tiny.BATCH)
    for epoch in range(-(-num_steps // 16))
  ]
  return np.concatenate(epochs)[:num_steps]


def assert_close(one, other, **tolerance):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other
  )


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adam"])
def test_a_step_is_that_of_numpy(name):
  start = tiny.start(density=0.6)
  optimizer = optim.create(name)
  step = jax.jit(
    training.make_step(tiny.model(), optimizer, scaling.make("unit", None))
  )
  state = training.TrainState(
    jnp.int32(0),
    start.params,
    start.stats,
    optimizer.init(start.params),
    start.masks,
  )
  batches = expected_batches(3)
  found = []
  for batch in batches:
    images, labels = (x[batch] for x in tiny.dataset().train)
    state, loss = step(state, images, labels, tiny.key(), 0.02)
    found.append(loss)
  expected = numpy_train(name, 0.02, start.params, start.masks, batches)
  assert_close((state.params, found), expected, rtol=2e-4, atol=2e-6)
  assert int(state.step) == 3


def test_every_step_augments_and_drops_with_keys_of_their_own():
  """A key is consumed once: an epoch's must not also make dropout."""

  def augment(key, images):
    data = jax.random.key_data(key)
    return jnp.broadcast_to(data, (*images.shape[:3], 2))

  def apply(params, stats, images, *, train, key):
    del stats, train
    noted = {"augment": images[0, 0, 0], "drop": jax.random.key_data(key)}
    logits = jnp.zeros((len(images), tiny.CLASSES)) + 0 * params["w"][None]
    return logits, noted

  optimizer = optim.create("sgd")
  params, masks = {"w": jnp.zeros(tiny.CLASSES)}, {"w": np.ones(3, bool)}
  step = jax.jit(
    training.make_step(
      models.Model(None, apply), optimizer, lambda images: images, augment
    )
  )
  images, labels = (x[: tiny.BATCH] for x in tiny.dataset().train)
  found = []
  for key in (tiny.key(0), tiny.key(1)):
    for index in range(3):
      state = training.TrainState(
        jnp.int32(index), params, {}, optimizer.init(params), masks
      )
      stats = step(state, images, labels, key, 0.1)[0].stats
      found += [tuple(stats[name].tolist()) for name in ("augment", "drop")]
  epochs = [jax.random.fold_in(tiny.key(0), epoch) for epoch in range(3)]
  found += [tuple(jax.random.key_data(key).tolist()) for key in epochs]
  assert len(set(found)) == 2 * 3 * 2 + 3


def test_a_run_is_that_of_numpy():
  start = tiny.start(density=0.7)
  checkpoint, _ = tiny.train(start, tiny.entries(stop=40))
  expected, loss = numpy_train(
    "adam", 0.01, start.params, start.masks, expected_batches(40)
  )
  found = checkpoint.progress.state.params
  assert_close(found, expected, rtol=1e-3, atol=1e-5)
  means = np.reshape(loss, (4, 10)).mean(1)
  rows = [row for row in checkpoint.rows if row.evaluate]
  assert rows[0].train_loss is None  # no step came before it
  assert_close([row.train_loss for row in rows[1:]], list(means), rtol=1e-4)


@pytest.mark.parametrize("num", [0, 16, 37])
def test_evaluation_is_that_of_numpy(num):
  params = tiny.start(density=0.5).params
  evaluate = evaluation.make(
    tiny.model(), scaling.make("unit", None), batch_size=16
  )
  chosen = tiny.sample().valid[:num]
  score = jax.jit(evaluate)(params, {}, *tiny.dataset().train, chosen)
  if num == 0:
    assert np.isnan(score.loss) and int(score.num_correct) == 0
    return
  images, labels = (x[chosen] for x in tiny.dataset().train)
  logits = forward(jax.tree.map(np.float64, params), images)[2]
  np.testing.assert_allclose(
    score.loss, losses(logits, labels).mean(), rtol=1e-5
  )
  assert int(score.num_correct) == (logits.argmax(1) == labels).sum()


def test_the_summary_is_of_the_last_and_of_the_best_weights():
  checkpoint, summary = tiny.train(tiny.start(), tiny.entries())
  state, best = checkpoint.progress.state, checkpoint.progress.best
  train, test = tiny.dataset().train, tiny.dataset().test
  sample = tiny.sample()
  for params, metrics in (
    (state.params, summary.end),
    (best.params, summary.early_stop),
  ):
    params = jax.tree.map(np.float64, params)
    for score, images, labels in (
      (metrics.train, train.images[sample.train], train.labels[sample.train]),
      (metrics.valid, train.images[sample.valid], train.labels[sample.valid]),
      (metrics.test, *test),
    ):
      logits = forward(params, images)[2]
      np.testing.assert_allclose(
        score.loss, losses(logits, labels).mean(), rtol=1e-4
      )
      assert score.num_correct == (logits.argmax(1) == labels).sum()


def test_training_learns_and_pruned_weights_stay_zero():
  start = tiny.start(density=0.3)
  checkpoint, summary = tiny.train(start, tiny.entries())
  trained = checkpoint.progress.state.params
  for layer in ("Dense_0", "Dense_1"):
    mask = start.masks[layer]["kernel"]
    kernel = trained[layer]["kernel"]
    assert not kernel[~mask].any()
    assert (kernel[mask] != start.params[layer]["kernel"][mask]).any()
    assert trained[layer]["bias"].any()
  assert int(summary.end.test.num_correct) > 0.8 * tiny.NUM.test
  assert bool(checkpoint.progress.finite)


def test_where_a_run_is_cut_changes_no_bit():
  start = tiny.start(density=0.5)
  runs = []
  for pause_every in (60, 7, 1):
    for seconds in (0, 0.01, 1e9):
      todo = tiny.entries(pause_every=pause_every)
      checkpoint, summary = tiny.train(start, todo, seconds=seconds)
      runs.append((checkpoint.progress, checkpoint.rows, summary))
  for run in runs[1:]:
    tiny.assert_equal_bits((run[0], run[2]), (runs[0][0], runs[0][2]))
    assert run[1] == runs[0][1]


def test_rounds_arms_and_plans_share_one_program():
  starts = [tiny.start(1, density=0.2), tiny.start(2), tiny.start(1, step=30)]
  with tiny.compilations() as found:
    tiny.train(tiny.start(), tiny.entries())
    jax.jit(lambda x: x + 1)(0)
  assert found  # what is compiled is noticed
  with tiny.compilations() as found:
    tiny.train(starts[0], tiny.entries(pause_every=3), seed=5)
    tiny.train(starts[1], tiny.entries(stop=20), seconds=0.01)
    tiny.train(starts[2], tiny.entries(start=30))
  assert not found


def test_a_plan_is_padded():
  plan = training.plan([3, 5], [True, False], [False, True], 4)
  assert plan.steps.tolist() == [3, 5, 0, 0]
  assert plan.evaluate.tolist() == [True, False, False, False]
  assert plan.test.tolist() == [False, True, False, False]
  assert plan.num == 2
  with pytest.raises(ValueError, match="5 entries"):
    training.plan([1] * 5, [True] * 5, [True] * 5, 4)


def test_a_batch_larger_than_the_data_is_an_error():
  trainer = training.make(
    tiny.model(), optim.create("sgd"), lambda x: x, batch_size=164
  )
  with pytest.raises(errors.InputError, match="164 does not fit 163"):
    trainer.begin(tiny.start(), tiny.sample())


# A network whose losses at every step are written beforehand: its one weight
# is a clock, its statistics hold the script and note every batch and key.


def scripted_model():
  def apply(params, stats, images, *, train, key):
    now = params["clock"].astype(jnp.int32)
    z = stats["train_z" if train else "eval_z"][now]
    logits = jnp.stack([jnp.zeros(len(images)), jnp.full(len(images), z)], 1)
    if not train:
      return logits, stats
    seen = stats["seen"].at[now].set(images[:, 0, 0, 0])
    keys = stats["keys"].at[now].set(jax.random.key_data(key))
    return logits, stats | {"seen": seen, "keys": keys}

  return models.Model(None, apply)


@pytest.fixture(scope="module")
def scripted():
  """Trains along a script: (train_z, eval_z, entries) -> progress, history."""
  tick = optax.stateless(lambda grads, _: jax.tree.map(jnp.ones_like, grads))
  trainer = training.make(
    scripted_model(),
    optim.masked(tick),
    lambda images: images.astype(jnp.int32),
    batch_size=tiny.BATCH,
    eval_batch_size=16,
  )
  index = np.arange(200, dtype=np.uint8).reshape(-1, 1, 1, 1)
  label = np.zeros(200, np.int32)
  data = training.Data(index, label, index[:3], label[:3])

  def train(train_z, eval_z, entries, *, begin=0, num_valid=tiny.NUM.valid):
    sample = tiny.sample()
    sample = sample._replace(valid=sample.valid[:num_valid])
    stats = {
      "train_z": np.resize(np.float32(train_z), NUM_STEPS + 1),
      "eval_z": np.resize(np.float32(eval_z), NUM_STEPS + 1),
      "seen": np.full((NUM_STEPS, tiny.BATCH), -1, np.int32),
      "keys": np.zeros((NUM_STEPS, 2), np.uint32),
    }
    clock = {"clock": np.float32(begin)}
    start = training.Start(clock, stats, np.int32(begin), {"clock": np.True_})
    plan = training.plan(*zip(*entries), segments.SEGMENT_ENTRIES)
    progress = trainer.begin(start, sample)
    progress, history = trainer.advance(
      progress, plan, inputs(data=data, split=sample)
    )
    history = jax.tree.map(lambda x: x[: len(entries)], history)
    return jax.device_get((progress, history))

  return train


def every(num, *, begin=0, stop=NUM_STEPS):
  return [segments.Entry(s, True, False) for s in range(begin, stop + 1, num)]


def test_an_epoch_sees_each_training_image_at_most_once(scripted):
  progress, _ = scripted(0, 0, every(10))
  seen = progress.state.stats["seen"]
  for epoch in seen.reshape(5, 160):
    assert len(set(epoch)) == 160  # of 163: the remainder is dropped
    assert set(epoch) <= set(tiny.sample().train)
  assert not set(seen.ravel()) & set(tiny.sample().valid)
  assert set(seen.ravel()) == set(tiny.sample().train)
  np.testing.assert_array_equal(seen, expected_batches(NUM_STEPS))


def test_a_late_start_sees_the_batches_and_noise_of_its_steps(scripted):
  whole, _ = scripted(0, 0, every(10))
  late, history = scripted(0, 0, every(10, begin=20), begin=20)
  for name in ("seen", "keys"):
    whole_rows = whole.state.stats[name]
    late_rows = late.state.stats[name]
    np.testing.assert_array_equal(late_rows[20:], whole_rows[20:])
    assert (late_rows[:20] != whole_rows[:20]).any()
  assert int(late.state.step) == NUM_STEPS
  assert np.isnan(history.train_loss[0])
  assert int(late.best.step) == 20


@pytest.mark.parametrize(
  "eval_z",
  [
    [3, 1, 2, 1, 5, 1, 2, 4, 9],
    [1, 1, 1, 1, 1, 1, 1, 1, 1],
    [9, 8, 7, 6, 5, 4, 3, 2, 1],
    [np.nan, 2, np.nan, 1, 1, np.nan, 3, 1, 1],
    [2, 2, 2, np.inf, 1, 1, np.nan, 2, 3],
    [np.inf, np.nan, np.inf, 4, 3, 3, 4, 3, np.nan],
  ],
)
def test_early_stopping_is_at_the_first_minimum(scripted, eval_z):
  progress, history = scripted(0, np.repeat(eval_z, 10), every(10))
  valid = history.valid.loss
  finite = np.isfinite(eval_z)
  assert np.isfinite(valid).tolist() == finite.tolist()
  expected = np.logaddexp(0, np.array(eval_z)[finite])
  np.testing.assert_allclose(valid[finite], expected, rtol=1e-5)
  first = int(np.nanargmin(valid))
  best = progress.best
  assert int(best.step) == 10 * first
  assert best.loss == valid[first]
  # The weights and statistics are those of that step.
  assert best.params["clock"] == 10 * first
  done = progress.best.stats["seen"][:, 0] >= 0
  assert done.tolist() == [step < 10 * first for step in range(NUM_STEPS)]


def test_the_test_images_choose_nothing():
  data = tiny.data()
  wrong = data._replace(test_labels=(data.test_labels + 1) % tiny.CLASSES)
  todo = training.plan([0, 20, 40, 60], [True] * 4, [True] * 4, length=4)
  trainer, found = tiny.trainer(), []
  for seen in (data, wrong):
    progress = trainer.begin(tiny.start(), tiny.sample())
    progress, history = trainer.advance(progress, todo, inputs(data=seen))
    found.append((progress, history.valid))
    assert np.isfinite(history.test.loss).all()
  tiny.assert_equal_bits(*found)


def test_an_entry_that_lies_behind_measures_nothing():
  trainer = tiny.trainer()
  progress = trainer.begin(tiny.start(step=20), tiny.sample())
  # Padded to the shape of the test before, to share its program.
  todo = training.plan([0, 10, 30], [True] * 3, [True] * 3, length=4)
  progress, history = trainer.advance(progress, todo, inputs())
  assert int(progress.state.step) == 30
  assert np.isfinite(history.valid.loss).tolist() == [False, False, True, False]
  assert history.test.num_correct[:2].tolist() == [-1, -1]


def test_the_summary_has_the_statistics_of_its_weights():
  def apply(params, stats, images, *, train, key):
    del key
    z = jnp.abs(stats["steps"] - 7.0) + 0 * params["w"]
    logits = jnp.stack([jnp.zeros(len(images)), jnp.full(len(images), z)], 1)
    return logits, {"steps": stats["steps"] + train}

  trainer = training.make(
    models.Model(None, apply),
    optim.create("sgd"),
    lambda images: images,
    batch_size=tiny.BATCH,
  )
  data = tiny.data()
  data = data._replace(labels=0 * data.labels, test_labels=0 * data.test_labels)
  masks = {"w": np.True_}
  start = training.Start({"w": 0.0}, {"steps": 0.0}, 0, masks)
  steps = [0, 7, 12]
  todo = training.plan(steps, [True] * 3, [False] * 3, length=3)
  progress = trainer.begin(start, tiny.sample())
  progress, _ = trainer.advance(progress, todo, inputs(data=data))
  summary = trainer.summarize(progress, inputs(data=data))
  for metrics, z in ((summary.early_stop, 0), (summary.end, 5)):
    for score in metrics:
      np.testing.assert_allclose(score.loss, np.logaddexp(0, z), rtol=1e-5)


def test_never_finite_validation_keeps_the_start(scripted):
  progress, _ = scripted(0, np.nan, every(10))
  assert int(progress.best.step) == 0 and progress.best.loss == np.inf
  assert bool(progress.finite)  # of training losses


def test_training_loss_is_the_mean_since_the_last_evaluation(scripted):
  rng = np.random.default_rng(0)
  z = rng.normal(size=NUM_STEPS + 1)
  # Pauses and tests between evaluations do not end the mean.
  steps = [0, 5, 12, 16, 17, 40, 41, 80]
  evaluate = [True, False, True, False, True, True, False, True]
  test = [False, True, False, False, False, False, True, True]
  entries = [segments.Entry(*entry) for entry in zip(steps, evaluate, test)]
  _, history = scripted(z, 0, entries)
  losses = np.logaddexp(0, z)
  for begin, end, row in ((0, 12, 2), (12, 17, 4), (17, 40, 5), (40, 80, 7)):
    np.testing.assert_allclose(
      history.train_loss[row], losses[begin:end].mean(), rtol=1e-5
    )
  assert np.isnan(history.train_loss[[0, 1, 3, 6]]).all()
  assert np.isnan(history.valid.loss).tolist() == [not e for e in evaluate]
  assert np.isnan(history.test.loss).tolist() == [not t for t in test]
  absent = np.where(evaluate, 37, -1)  # at z = 0 the first class wins
  assert history.valid.num_correct.tolist() == absent.tolist()


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_one_training_loss_that_is_not_finite_is_remembered(scripted, lost):
  z = np.zeros(NUM_STEPS + 1)
  z[33] = lost
  entries = every(10)
  progress, history = scripted(z, 0, entries)
  assert not bool(progress.finite)
  finite = np.isfinite(history.train_loss[1:])
  assert finite.tolist() == [step != 40 for step in range(10, 81, 10)]
  before, _ = scripted(z, 0, every(10, stop=30))
  assert bool(before.finite)


def test_without_validation_images_nothing_stops_early(scripted):
  progress, history = scripted(0, 0, every(40), num_valid=0)
  assert np.isnan(history.valid.loss).all()
  assert history.valid.num_correct.tolist() == [0, 0, 0]
  np.testing.assert_allclose(history.train_loss[1:], np.log(2), rtol=1e-5)
  assert int(progress.best.step) == 0
  assert int(progress.state.step) == NUM_STEPS and bool(progress.finite)
