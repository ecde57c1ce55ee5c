"""From a config and a data set to the parts that all trials of a run share."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax import errors, models, optim, pruning, scores
from lth_jax import masks as masks_lib
from lth_jax.config import configs
from lth_jax.config import plan as plan_lib
from lth_jax.config.configs import Config
from lth_jax.config.plan import Trial
from lth_jax.data import Dataset, augment, order, scaling
from lth_jax.lottery import keys
from lth_jax.parallel import segments, vmapped
from lth_jax.training import evaluation, loop, schedules

PyTree = Any


# More trials at once than this are seldom faster, and all need memory.
_MAX_TRIALS = 32


class Study(NamedTuple):
  """What all trials of a run share.

  Attributes:
    config: the run.
    run_id: names the run in every store.
    model: the network.
    trainer: its compiled functions.
    schedule: its learning rates.
    masks: full masks, NumPy.
    fractions: rates a round, a tree like the masks.
    num_images: training, validation and test images, a `NumImages`.
  """

  config: Config
  run_id: str
  model: models.Model
  trainer: loop.Trainer
  schedule: schedules.Schedule
  masks: PyTree
  fractions: PyTree
  num_images: evaluation.NumImages


def make(config: Config, dataset: Dataset) -> Study:
  """Builds the parts; nothing is trained or compiled yet.

  Args:
    config: what to run.
    dataset: images `[N, H, W, C]` uint8 and labels `[N]` int32.

  Raises:
    InputError: the config does not fit the data or the network.

  >>> from lth_jax import data
  >>> config = configs.from_flat({"hidden": [], "rates": ["kernel=0.2"]})
  >>> study = make(config, data.load("mnist_10k"))
  >>> study.num_images
  NumImages(train=5000, valid=5000, test=2000)
  >>> study.fractions
  {'Dense_0': {'bias': None, 'kernel': 0.2}}
  """
  num_images = _count_images(config, dataset)
  order.num_batches(num_images.train, config.training.batch_size)
  settings = config.training
  model = _network(
    config.model, dataset.train.images.shape[1:], dataset.num_classes
  )
  trainer = _trainer(
    model,
    settings.optimizer,
    settings.momentum,
    settings.weight_decay,
    scaling.make(
      config.data.scaling,
      dataset.train.images[: num_images.train + num_images.valid],
    ),
    augment.make(config.data.augment),
    settings.batch_size,
    config.execution.batch_devices,
  )
  shapes, _ = jax.eval_shape(model.init, keys.initial(0, 0))
  masks = masks_lib.full(
    jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
  )
  masks = jax.device_get(masks)
  return Study(
    config=config,
    run_id=configs.run_id(config),
    model=model,
    trainer=trainer,
    schedule=schedules.make(
      settings.learning_rate, warmup=settings.warmup, drops=settings.drops
    ),
    masks=masks,
    fractions=_fractions(config, masks, model.output),
    num_images=num_images,
  )


def images(study: Study, dataset: Dataset) -> loop.Data:
  """Returns the images that the run uses: the first ones of each part.

  Args:
    study: has the counts.
    dataset: that it was made for.

  >>> from lth_jax import data
  >>> config = {"hidden": [], "rates": ["kernel=0.2"], "num_test": 100}
  >>> dataset = data.load("mnist_10k")
  >>> study = make(configs.from_flat(config | {"num_train": 600}), dataset)
  >>> used = images(study, dataset)
  >>> len(used.labels), len(used.test_labels)
  (5600, 100)
  """
  num_known = study.num_images.train + study.num_images.valid
  return loop.Data(
    *(array[:num_known] for array in dataset.train),
    *(array[: study.num_images.test] for array in dataset.test),
  )


def share_devices(
  config: Config,
  devices: Sequence[jax.Device],
  before: Sequence[vmapped.Sharing],
) -> vmapped.Sharing:
  """Decides how trials share a device.

  Args:
    config: the run.
    devices: what it is trained on.
    before: how earlier processes of this run decided, the first one first.

  Returns:
    What the config asks for; what it leaves open is as the run began, so that
    it keeps its bits, else as its help says.

  Raises:
    InputError: several trials are asked for and none may be beside another.

  >>> config = configs.from_flat({"lane_axis": "vmap", "replicates": 2})
  >>> share_devices(config, jax.devices()[:1], before=())
  Sharing(axis='vmap', trials=10, devices=1)
  """
  axis, trials = config.execution.lane_axis, config.execution.lanes_per_device
  together = config.execution.batch_devices
  if axis == "auto":
    platform = devices[0].platform
    # XLA makes grouped convolutions of stacked ones; cuDNN has no kernel
    # gradient for those, and gets one with a window as large as the image.
    slow = platform == "gpu" and config.model.model != "lenet"
    axis = "loop" if platform == "cpu" or slow else "vmap"
  if axis == "loop":
    if trials > 1:
      raise errors.InputError(
        f"--lanes_per_device={trials}: on {devices[0].platform} one trial is "
        "trained after the other; ask for --lane_axis=vmap to have several."
      )
    return vmapped.Sharing(axis, 1, together)
  num_workers = len(devices) // together
  wanted = min(-(-plan_lib.num_at_once(config) // num_workers), _MAX_TRIALS)
  began = (each.trials for each in before if each.axis == axis)
  return vmapped.Sharing(axis, trials or next(began, wanted), together)


def order_key(config: Config, trial: Trial) -> jax.Array:
  """Returns the key `[]` of a trial's batch order and noise.

  Args:
    config: the run.
    trial: one of its trials.

  >>> key = order_key(configs.Config(), Trial(0, 0, "ticket"))
  >>> bool(key == order_key(configs.Config(), Trial(0, 7, "reinit", 1)))
  True
  """
  seed = config.randomness.order_seed
  seed = config.randomness.seed if seed is None else seed
  per_round = config.randomness.order == "per_round"
  return keys.order(seed, trial.replicate, trial.round if per_round else None)


def split(study: Study, replicate: int) -> loop.Split:
  """Returns indices of a replicate's training and validation images.

  Args:
    study: has the seed and the counts.
    replicate: index of the replicate.

  Returns:
    Both int32, `[T]` and `[V]`, of the counts in `study.num_images`.

  >>> from lth_jax import data
  >>> config = configs.from_flat({"hidden": [], "rates": ["kernel=0.2"]})
  >>> study = make(config, data.load("mnist_10k"))
  >>> first, second = split(study, replicate=0), split(study, replicate=1)
  >>> first.valid.shape, bool((first.valid == second.valid).all())
  ((5000,), False)
  """
  num_images = study.num_images
  return loop.Split(
    *order.split_indices(
      keys.split(study.config.randomness.seed, replicate),
      num_images.train + num_images.valid,
      num_images.valid,
    )
  )


def initial_start(study: Study, replicate: int) -> loop.Start:
  """Returns theta_0 under full masks, as NumPy arrays.

  Args:
    study: has the seed, the network and the masks.
    replicate: index of the replicate.

  >>> from lth_jax import data
  >>> images = np.zeros((6000, 2, 2, 1), np.uint8)
  >>> part = data.Examples(images, np.zeros(6000, np.int32))
  >>> dataset = data.Dataset("tiny", part, part, num_classes=2, source="made")
  >>> config = configs.from_flat({"hidden": [], "rates": ["kernel=0.2"]})
  >>> start = initial_start(make(config, dataset), replicate=0)
  >>> start.params["Dense_0"]["kernel"].shape, start.step
  ((4, 2), array(0, dtype=int32))
  """
  key = keys.initial(study.config.randomness.seed, replicate)
  params, stats = jax.device_get(study.model.init(key))
  return loop.Start(params, stats, np.array(0, np.int32), study.masks)


def prune(study: Study, trained: PyTree, masks: PyTree) -> PyTree:
  """Removes one round's fraction of the smallest magnitudes.

  Args:
    study: has the fractions and the scope.
    trained: weights at the end of the round.
    masks: masks of the round.

  Returns:
    Masks of the next round, NumPy.

  Raises:
    ValueError: a weight that is kept is NaN.

  >>> from lth_jax import data
  >>> config = configs.from_flat({"hidden": [], "rates": ["kernel=0.2"]})
  >>> study = make(config, data.load("mnist_10k"))
  >>> kernel = np.linspace(-1, 1, 7840, dtype=np.float32).reshape(784, 10)
  >>> trained = {"Dense_0": {"kernel": kernel, "bias": np.zeros(10)}}
  >>> kept = prune(study, trained, study.masks)["Dense_0"]["kernel"]
  >>> kept.mean(), abs(kernel[kept]).min() > abs(kernel[~kept]).max()
  (np.float64(0.8), np.True_)
  """
  return jax.device_get(
    pruning.prune(
      scores.magnitude(trained),
      masks,
      study.fractions,
      scope=study.config.pruning.scope,
    )
  )


def prune_at_once(
  study: Study, trained: PyTree, masks: PyTree, round_index: int
) -> PyTree:
  """Removes at once what `prune` removes in `round_index` rounds.

  Args:
    study: has the fractions a round and the scope.
    trained: weights of the dense network at the end of its training.
    masks: full masks.
    round_index: round whose density to reach.

  Returns:
    Masks of that round, NumPy; counts are rounded once, not once a round.

  >>> from lth_jax import data
  >>> config = configs.from_flat({"hidden": [], "rates": ["kernel=0.2"]})
  >>> study = make(config, data.load("mnist_10k"))
  >>> kernel = np.linspace(-1, 1, 7840, dtype=np.float32).reshape(784, 10)
  >>> trained = {"Dense_0": {"kernel": kernel, "bias": np.zeros(10)}}
  >>> masks = prune_at_once(study, trained, study.masks, round_index=2)
  >>> masks["Dense_0"]["kernel"].sum(), round(7840 * 0.8**2)
  (np.int64(5018), 5018)
  """
  at_once = pruning.one_shot(study.fractions, round_index)
  return prune(study._replace(fractions=at_once), trained, masks)


def entries(config: Config) -> list[segments.Entry]:
  """Lists the steps at which every trial of a run is measured.

  Args:
    config: the run.

  >>> config = configs.from_flat({"steps": 250})
  >>> [entry.step for entry in entries(config)]
  [0, 100, 200, 250]
  """
  asked = config.training
  return segments.entries(0, asked.steps, asked.eval_every, asked.test_every)


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


# Cached, so that runs of one process that differ in what is data only, such
# as learning rates and seeds, share their compiled programs.
@functools.cache
def _network(
  asked: configs.Model, image_shape: tuple[int, ...], num_classes: int
) -> models.Model:
  try:
    model = models.make(
      asked.model,
      image_shape,
      num_classes,
      hidden=asked.hidden,
      width=asked.width,
      dropout=asked.dropout,
    )
  except ValueError as error:
    raise errors.InputError(f"--model={asked.model}: {error}.") from error
  if asked.init_std:
    model = models.with_normal_kernels(model, asked.init_std)
  return model._replace(init=jax.jit(model.init))


@functools.cache
def _trainer(
  model,
  optimizer,
  momentum,
  weight_decay,
  scale,
  augment,
  batch_size,
  num_parts,
) -> loop.Trainer:
  return loop.make(
    model,
    optim.create(optimizer, momentum=momentum, weight_decay=weight_decay),
    scale,
    augment,
    batch_size=batch_size,
    num_parts=num_parts,
  )


def _fractions(config: Config, masks: PyTree, output: str) -> PyTree:
  """Rates as a tree; refuses a schedule that empties a layer."""
  num_rounds = config.study.rounds
  _check_output(config, output)
  try:
    fractions = pruning.fractions(masks, configs.rules(config, output))
    pruning.density_schedule(masks, fractions, 1, scope=config.pruning.scope)
  except ValueError as error:
    raise errors.InputError(f"--rates: {error}.") from error
  for index, left in enumerate(_left(config, masks, fractions)):
    for name, amount in left.items():
      if amount == 0:
        raise errors.InputError(
          f"--rounds={num_rounds}: round {index} leaves {name} without a "
          f"weight; choose --rounds={index - 1} or lower its rate in --rates."
        )
  return fractions


def _check_output(config: Config, output: str) -> None:
  """Refuses two rules for the output layer, or one that names another layer.

  `Dense_2` was the default, and is the output of two hidden layers only.
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


def _left(config, masks, fractions) -> Iterator[Mapping[str, float]]:
  """What each layer keeps, round by round.

  In global scope that is known only of all layers together.
  """

  def schedule(fractions, num_rounds):
    if config.pruning.scope == "layer":
      return pruning.count_schedule(masks, fractions, num_rounds)
    densities = pruning.density_schedule(
      masks, fractions, num_rounds, scope="global"
    )
    return [{"the network": density} for density in densities]

  if config.pruning.pruning == "iterative":
    yield from schedule(fractions, config.study.rounds)
  else:
    for index in range(config.study.rounds + 1):
      yield schedule(pruning.one_shot(fractions, index), 1)[1]
