"""From a config and a data set to what all trials of a run share."""

import functools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax import errors, models, optim, pruning, scores
from lth_jax import masks as masks_lib
from lth_jax.config import configs
from lth_jax.config.configs import Config
from lth_jax.config.plan import Trial
from lth_jax.data import Dataset, augment, order, scaling
from lth_jax.lottery import densities, keys
from lth_jax.runner import own as own_lib
from lth_jax.training import evaluation, loop, schedules

PyTree = Any
# (key, trained weights, initial weights) -> a tree of scores like the weights;
# the lowest are pruned. Initial weights are theta_0 or theta_k.
Score = Callable[[jax.Array, PyTree, PyTree], PyTree]
# (replicate, initial weights, trained weights, their masks, round) -> masks of
# this round, NumPy
Prune = Callable[[int, PyTree, PyTree, PyTree, int], PyTree]
SCORES: Mapping[str, Score] = {
  "magnitude": lambda key, trained, initial: scores.magnitude(trained)
}
# Cached, as the network is: so runs of one process that differ only in data,
# such as learning rates and seeds, share their compiled programs.
_optimizer = functools.cache(
  lambda make, momentum, decay: optim.complete(make(momentum), decay)
)
_trainer = functools.cache(loop.make)


class Components(NamedTuple):
  """What all trials of a run share.

  Attributes:
    config: the run.
    run_id: names the run in every checkpoint.
    model: the network.
    trainer: its compiled functions.
    schedule: its learning rates.
    like: shapes of a start, and full masks, NumPy.
    rates: fraction of each leaf's survivors that a round of the ladder prunes.
    prune: as `Prune`.
    num_images: number of training, validation and test images.
    split: replicate -> its training and validation images, NumPy int32 `[T]`
      and `[V]`; computed once.
    data: these images: the first ones of each part of the data set.
    own: functions of one's own, by their names.
  """

  config: Config
  run_id: str
  model: models.Model
  trainer: loop.Trainer
  schedule: schedules.Schedule
  like: loop.Start
  rates: PyTree
  prune: Prune
  num_images: evaluation.NumImages
  split: Callable[[int], loop.Split]
  data: loop.Data
  own: Mapping[str, Callable[..., Any]]


def make(
  config: Config,
  dataset: Dataset,
  own: Mapping[str, Callable[..., Any]] = types.MappingProxyType({}),
) -> Components:
  """Builds the components; nothing is trained or compiled yet.

  Raises:
    InputError: the config does not fit the data or the network.
  """
  num_images, settings = _count_images(config, dataset), config.training
  order.num_batches(num_images.train, settings.batch_size)
  make_model = own_lib.choose(models.MAKERS, own, config.model.model)
  image_shape = dataset.train.images.shape[1:]
  model = _network(make_model, config.model, image_shape, dataset.num_classes)
  known = num_images.train + num_images.valid
  data = loop.Data(
    *(array[:known] for array in dataset.train),
    *(array[: num_images.test] for array in dataset.test),
  )
  params, stats = jax.eval_shape(model.init, keys.initial(0, 0))
  zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), params)
  masks = jax.device_get(masks_lib.full(zeros))
  rates = _rates(config, masks, model.output)

  @functools.cache
  def split(replicate: int) -> loop.Split:
    key = keys.split(config.randomness.seed, replicate)
    found = order.split_indices(key, known, num_images.valid)
    return jax.device_get(loop.Split(*found))

  return Components(
    config=config,
    run_id=configs.run_id(config),
    model=model,
    trainer=_make_trainer(config, model, data, own),
    schedule=schedules.make(
      settings.learning_rate, warmup=settings.warmup, drops=settings.drops
    ),
    like=loop.Start(params, stats, np.array(0, np.int32), masks),
    rates=rates,
    prune=_make_prune(config, rates, own),
    num_images=num_images,
    split=split,
    data=data,
    own=own,
  )


def order_key(config: Config, trial: Trial) -> jax.Array:
  """Returns the key `[]` of a trial's batch order and noise."""
  seed = config.randomness.order_seed
  seed = config.randomness.seed if seed is None else seed
  per_round = config.randomness.order == "per_round"
  return keys.order(seed, trial.replicate, trial.round if per_round else None)


def schedule(components: Components, trial: Trial) -> schedules.Schedule:
  """Returns the learning rates of a trial."""
  config = components.config
  if config.pruning.retrain == "finetune" and trial.round > 0:
    last = config.training.steps - 1
    return schedules.constant(components.schedule, last)
  return components.schedule


def initial_start(components: Components, replicate: int) -> loop.Start:
  """Returns theta_0 under full masks, as NumPy arrays."""
  key = keys.initial(components.config.randomness.seed, replicate)
  params, stats = jax.device_get(components.model.init(key))
  return components.like._replace(params=params, stats=stats)


def _make_prune(config: Config, rates: PyTree, own) -> Prune:
  """Returns what removes the lowest scores: of one round, or many at once."""
  asked, seed = config.pruning, config.randomness.seed
  score = own_lib.choose(SCORES, own, asked.score)

  def prune(replicate, initial, trained, masks, round):
    found = score(keys.score(seed, replicate, round), trained, initial)
    fractions = _fractions(asked, rates, masks, round)
    signed = asked.score not in SCORES
    try:
      pruned = pruning.prune(
        found, masks, fractions, scope=asked.scope, signed=signed
      )
    except (TypeError, ValueError) as error:
      if asked.score in SCORES:
        raise
      raise errors.InputError(f"--score={asked.score}: {error}.") from error
    return jax.device_get(pruned)

  return prune


def _fractions(asked: configs.Pruning, rates, masks, round: int) -> PyTree:
  """Returns the fractions of the masks' survivors that a round prunes."""
  if asked.densities:
    return densities.fractions(masks, rates, asked.densities[round - 1])
  if asked.pruning == "oneshot":
    return pruning.one_shot(rates, round)
  return rates


def _count_images(config: Config, dataset: Dataset) -> evaluation.NumImages:
  asked, known = config.data, len(dataset.train.labels)
  if asked.num_valid >= known:
    raise errors.InputError(
      f"--num_valid={asked.num_valid}: {dataset.name} has {known:,} training "
      "images; set fewer aside."
    )
  if asked.num_train + asked.num_valid > known:
    raise errors.InputError(
      f"--num_train={asked.num_train}: {dataset.name} has {known:,} training "
      f"images, of which --num_valid={asked.num_valid} are set aside; ask for "
      "fewer, or for 0 to take the rest."
    )
  if asked.num_test > len(dataset.test.labels):
    raise errors.InputError(
      f"--num_test={asked.num_test}: {dataset.name} has "
      f"{len(dataset.test.labels):,} test images; ask for fewer."
    )
  return evaluation.NumImages(
    asked.num_train or known - asked.num_valid,
    asked.num_valid,
    asked.num_test or len(dataset.test.labels),
  )


@functools.cache
def _network(
  make_model: models.Maker,
  asked: configs.Model,
  image_shape: tuple[int, ...],
  num_classes: int,
) -> models.Model:
  options = models.Options(asked.hidden, asked.width, asked.dropout)
  try:
    model = make_model(image_shape, num_classes, options)
  except ValueError as error:
    raise errors.InputError(f"--model={asked.model}: {error}.") from error
  if asked.model not in models.MAKERS:
    _check_model(asked.model, model, image_shape, num_classes)
  if asked.init_std:
    model = models.with_normal_kernels(model, asked.init_std)
  return model._replace(init=jax.jit(model.init))


def _check_model(name: str, model: Any, image_shape, num_classes: int) -> None:
  """Checks what the maker of a network returns."""
  if not isinstance(model, models.Model):
    raise errors.InputError(
      f"--model={name}: returns {type(model).__name__}; return a "
      "lth_jax.models.Model, such as models.from_linen(module, image_shape, "
      "'Dense_0/kernel')."
    )
  images = jax.ShapeDtypeStruct((2, *image_shape), np.float32)
  key = keys.initial(0, 0)
  try:
    params, stats = jax.eval_shape(model.init, key)
    apply = functools.partial(model.apply, train=True)
    logits, _ = jax.eval_shape(apply, params, stats, images, key=key)
    shape = logits.shape
  except Exception as error:  # of anybody's code
    raise errors.InputError(
      f"--model={name}: {type(error).__name__}: {errors.first_line(error)}."
    ) from error
  if shape != (2, num_classes):
    raise errors.InputError(
      f"--model={name}: returns {shape} for 2 images; return logits "
      f"(2, {num_classes}), one a class."
    )


def _make_trainer(config: Config, model, data: loop.Data, own) -> loop.Trainer:
  settings = config.training
  optimizer = _optimizer(
    own_lib.choose(optim.MAKERS, own, settings.optimizer),
    settings.momentum,
    settings.weight_decay,
  )
  return _trainer(
    model,
    optimizer,
    scaling.make(config.data.scaling, np.asarray(data.images)),
    own_lib.choose(augment.FUNCTIONS, own, config.data.augment),
    batch_size=settings.batch_size,
    num_parts=config.execution.batch_devices,
  )


def _rates(config: Config, masks: PyTree, output: str) -> PyTree:
  """Returns the rates as a tree; raises if a round empties a layer."""
  num_rounds = config.study.rounds
  _check_output(config, output)
  try:
    rates = pruning.fractions(masks, configs.rules(config, output))
    pruning.density_schedule(masks, rates, 1, scope=config.pruning.scope)
  except ValueError as error:
    raise errors.InputError(f"--rates: {error}.") from error
  for index, kept in enumerate(_kept(config, masks, rates)):
    for name, amount in kept.items():
      if amount == 0:
        raise errors.InputError(
          f"--rounds={num_rounds}: round {index} leaves {name} without a "
          f"weight; choose --rounds={index - 1} or lower its rate in --rates."
        )
  return rates


def _check_output(config: Config, output: str) -> None:
  """Raises an `InputError` for a wrong rule of the output layer.

  `Dense_2` was once the default; it is the output after two hidden layers only.
  """
  patterns = [pattern for pattern, _ in configs.rules(config)]
  if patterns.count(configs.OUTPUT) > 1:
    raise errors.InputError(
      f"--rates: {', '.join(config.pruning.rates)} has two rates for the "
      "output layer; keep one."
    )
  numbered = [pattern for pattern in patterns if "Dense_2" in pattern]
  if numbered and configs.OUTPUT not in patterns and "Dense_2" not in output:
    raise errors.InputError(
      f"--rates: '{numbered[0]}' is not the output layer of this network, "
      f"which is {output}; give that one's rate as '{configs.OUTPUT}=0.1'."
    )


def _kept(config, masks, rates) -> Iterator[Mapping[str, float]]:
  """Yields, round by round, how much each layer keeps.

  In global scope only the density of all layers together is known.
  """
  asked, num_rounds = config.pruning, config.study.rounds

  def schedule(found, num_rounds):
    if asked.scope == "layer":
      return pruning.count_schedule(masks, found, num_rounds)
    kept = pruning.density_schedule(masks, found, num_rounds, scope="global")
    return [{"the network": density} for density in kept]

  if asked.pruning == "iterative" and not asked.densities:
    yield from schedule(rates, num_rounds)
  else:
    yield schedule(rates, 0)[0]
    for index in range(1, num_rounds + 1):
      try:
        found = _fractions(asked, rates, masks, index)
      except ValueError as error:
        raise errors.InputError(f"--densities: {error}.") from error
      yield schedule(found, 1)[1]
