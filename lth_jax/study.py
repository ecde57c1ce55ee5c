"""From a config and a data set to the parts that all lanes of a run share."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from lth_jax import (
  configs,
  errors,
  evaluation,
  execution,
  keys,
  lockstep,
  models,
  optim,
  pruning,
  scores,
  training,
)
from lth_jax import masks as masks_lib
from lth_jax.configs import Config
from lth_jax.data import Dataset, order, scaling
from lth_jax.storage import Lane

PyTree = Any


# More lanes at once than this are seldom faster, and all need memory.
_MAX_LANES = 32


class Study(NamedTuple):
  """What all lanes of a run share.

  Attributes:
    config: the run.
    run_id: names the run in every store.
    model: the network.
    trainer: its compiled functions.
    masks: full masks, NumPy.
    fractions: rates a round, a tree like the masks.
    num_images: training, validation and test images, a `NumImages`.
  """

  config: Config
  run_id: str
  model: models.Model
  trainer: training.Trainer
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
  configs.check(config)
  num_train = len(dataset.train.labels) - config.data.num_valid
  if num_train < 1:
    raise errors.InputError(
      f"--num_valid={config.data.num_valid}: {dataset.name} has "
      f"{len(dataset.train.labels):,} training images; set fewer aside."
    )
  order.num_batches(num_train, config.training.batch_size)
  model = models.lenet(
    dataset.train.images.shape[1:], dataset.num_classes, config.model.hidden
  )
  model = model._replace(init=jax.jit(model.init))
  trainer = training.make(
    model,
    optim.create(
      config.training.optimizer,
      config.training.learning_rate,
      momentum=config.training.momentum,
    ),
    scaling.make(config.data.scaling, dataset.train.images),
    batch_size=config.training.batch_size,
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
    masks=masks,
    fractions=_fractions(config, masks),
    num_images=evaluation.NumImages(
      num_train, config.data.num_valid, len(dataset.test.labels)
    ),
  )


def replicates(config: Config) -> range:
  """Returns the indices of a run's replicates.

  Args:
    config: the run.

  >>> config = configs.from_flat({"first_replicate": 3, "replicates": 2})
  >>> replicates(config)
  range(3, 5)
  """
  first = config.study.first_replicate
  return range(first, first + config.study.replicates)


def lanes(config: Config, replicate: int, round_index: int) -> list[Lane]:
  """Lists the lanes of a round, the ticket first.

  Args:
    config: the run.
    replicate: index of the replicate.
    round_index: index of the round, 0 for the dense network.

  >>> config = configs.from_flat({"arms": ["ticket", "reinit"], "reinits": 2})
  >>> [lane.name for lane in lanes(config, replicate=0, round_index=7)]
  ['replicate_0/round_007/ticket', 'replicate_0/round_007/reinit_0',
  'replicate_0/round_007/reinit_1']
  """
  lane = Lane(replicate, round_index, "ticket")
  if round_index == 0:
    return [lane]
  found = [lane]
  continued = config.pruning.reset == "continued"
  if continued and round_index < config.study.rounds:
    found.append(lane._replace(arm="search"))
  return found + control_lanes(config, replicate, round_index)


def control_lanes(
  config: Config, replicate: int, round_index: int
) -> list[Lane]:
  """Lists the control lanes of a round; the dense round 0 has none.

  Args:
    config: the run.
    replicate: index of the replicate.
    round_index: index of the round.

  >>> config = configs.from_flat({"arms": ["ticket", "random"]})
  >>> [len(control_lanes(config, 0, index)) for index in range(3)]
  [0, 1, 1]
  """
  chosen = config.study.control_rounds
  if round_index == 0 or (chosen and round_index not in chosen):
    return []
  found = []
  for arm in sorted(set(config.study.arms) - {"ticket"}):
    if arm == "reinit":
      draws = range(config.study.reinits)
      found += [Lane(replicate, round_index, arm, draw) for draw in draws]
    else:
      found.append(Lane(replicate, round_index, arm))
  return found


def supplies_masks(config: Config, lane: Lane) -> bool:
  """Says whether the masks of later rounds are pruned from a lane.

  Args:
    config: the run.
    lane: one of its lanes.

  >>> config = configs.from_flat({"pruning": "oneshot"})
  >>> [supplies_masks(config, Lane(0, index, "ticket")) for index in range(3)]
  [True, False, False]
  """
  if lane.round == 0:
    return True
  if config.pruning.pruning == "oneshot":
    return False
  search = "search" if config.pruning.reset == "continued" else "ticket"
  return lane.arm == search


def num_lanes_at_once(config: Config) -> int:
  """Returns how many lanes could run side by side, at most.

  Args:
    config: the run.

  >>> arms = ["ticket", "reinit"]
  >>> config = {"arms": arms, "reinits": 3, "replicates": 5}
  >>> num_lanes_at_once(configs.from_flat(config))
  20
  """
  counts = [
    len(lanes(config, 0, index)) for index in range(config.study.rounds + 1)
  ]
  return config.study.replicates * max(counts)


def share_devices(
  config: Config, devices: Sequence[jax.Device], before: lockstep.Sharing | None
) -> lockstep.Sharing:
  """Decides how lanes share a device.

  Args:
    config: the run.
    devices: what it is trained on.
    before: how an earlier process of this run decided.

  Returns:
    What the config asks for; what it leaves open is as before, so that the run
    keeps its bits, else as its help says.

  Raises:
    InputError: several lanes are asked for and none may be beside another.

  >>> config = configs.from_flat({"lane_axis": "vmap", "replicates": 2})
  >>> share_devices(config, jax.devices()[:1], before=None)
  Sharing(axis='vmap', lanes=10)
  """
  axis, lanes = config.execution.lane_axis, config.execution.lanes_per_device
  if axis == "auto":
    axis = "loop" if devices[0].platform == "cpu" else "vmap"
  if axis == "loop":
    if lanes > 1:
      raise errors.InputError(
        f"--lanes_per_device={lanes}: on {devices[0].platform} one lane is "
        "trained after the other; ask for --lane_axis=vmap to have several."
      )
    return lockstep.Sharing(axis, 1)
  if not lanes and before and before.axis == axis:
    lanes = before.lanes
  if not lanes:
    lanes = min(-(-num_lanes_at_once(config) // len(devices)), _MAX_LANES)
  return lockstep.Sharing(axis, lanes)


def order_key(config: Config, lane: Lane) -> jax.Array:
  """Returns the key `[]` of a lane's batch order and noise.

  Args:
    config: the run.
    lane: one of its lanes.

  >>> key = order_key(configs.Config(), Lane(0, 0, "ticket"))
  >>> bool(key == order_key(configs.Config(), Lane(0, 7, "reinit", 1)))
  True
  """
  seed = config.randomness.order_seed
  seed = config.randomness.seed if seed is None else seed
  per_round = config.randomness.order == "per_round"
  return keys.order(seed, lane.replicate, lane.round if per_round else None)


def split(study: Study, replicate: int) -> training.Sample:
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
  return training.Sample(
    *order.split_indices(
      keys.split(study.config.randomness.seed, replicate),
      num_images.train + num_images.valid,
      num_images.valid,
    )
  )


def initial_start(study: Study, replicate: int) -> training.Start:
  """Returns theta_0 under full masks, as NumPy arrays.

  Args:
    study: has the seed, the network and the masks.
    replicate: index of the replicate.

  >>> from lth_jax import data
  >>> images = np.zeros((6000, 2, 2, 1), np.uint8)
  >>> part = data.Split(images, np.zeros(6000, np.int32))
  >>> dataset = data.Dataset("tiny", part, part, num_classes=2, source="made")
  >>> config = configs.from_flat({"hidden": [], "rates": ["kernel=0.2"]})
  >>> start = initial_start(make(config, dataset), replicate=0)
  >>> start.params["Dense_0"]["kernel"].shape, start.step
  ((4, 2), array(0, dtype=int32))
  """
  key = keys.initial(study.config.randomness.seed, replicate)
  params, stats = jax.device_get(study.model.init(key))
  return training.Start(params, stats, np.array(0, np.int32), study.masks)


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


def entries(config: Config, speed: execution.Speed) -> list[execution.Entry]:
  """Lists the steps at which every lane of a run is measured or may pause.

  Args:
    config: the run.
    speed: measured; slow steps ask for more pauses.

  >>> config = configs.from_flat({"steps": 250})
  >>> found = entries(config, execution.Speed(step=1e-3, image=1e-5))
  >>> [entry.step for entry in found]
  [0, 100, 200, 250]
  """
  eval_every = config.training.eval_every
  pause_every = eval_every
  if eval_every * speed.step > execution.SEGMENT_SECONDS:
    pause_every = max(1, int(execution.SEGMENT_SECONDS / speed.step))
  return execution.entries(
    0,
    config.training.steps,
    eval_every,
    config.training.test_every,
    pause_every,
  )


def _fractions(config: Config, masks: PyTree) -> PyTree:
  """Rates as a tree; refuses a schedule that empties a layer."""
  num_rounds = config.study.rounds
  try:
    fractions = pruning.fractions(masks, configs.rules(config))
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
