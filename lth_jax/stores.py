"""The results of a run, each a store of its own below the workdir.

Where several processes work on a run, all of them read and the first one alone
writes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from etils import epath

from lth_jax import lanes, lottery, processes, storage, study
from lth_jax.training import Start, TrainState

PyTree = Any


class Stores(NamedTuple):
  """Where the results of a run lie.

  Attributes:
    folder: the workdir.
    run_id: what every store below it must belong to.
    say: told what is damaged.
    check: called before anything is committed or removed; raises if this
      process may not write any more.
  """

  folder: epath.Path
  run_id: str
  say: Callable[[str], None]
  check: Callable[[], None] = lambda: None


def read(
  stores: Stores, name: str, load: Callable[[epath.Path, str], Any]
) -> Any:
  """Reads a store; None if there is none, or a damaged one, which is said.

  Args:
    stores: where results lie.
    name: the store, below the workdir; discarded, and said, if it is damaged.
    load: called with its folder and the owner that it must have; raises
      `storage.DamagedError`.

  >>> import tempfile
  >>> def load(folder, owner):
  ...   raise storage.DamagedError(f"{folder.name} is no store.")
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", print)
  ...   (stores.folder / "ticket").mkdir()
  ...   storage.write_json(stores.folder / "ticket" / "commit.json", {})
  ...   read(stores, "ticket", load) is None
  warning: ticket is no store. It is discarded and made again.
  True
  """
  folder = stores.folder / name
  if not storage.exists(folder):
    return None
  try:
    return load(folder, lanes.owner(stores.run_id, name))
  except storage.DamagedError as error:
    stores.say(f"warning: {error} It is discarded and made again.")
    discard(stores, name)
    return None


def read_trained(
  stores: Stores, name: str, start: Start
) -> lottery.Trained | None:
  """Returns a lane's stored weights; None if there are none.

  Args:
    stores: where results lie.
    name: the store, below the workdir.
    start: what the lane began from; a store with other masks is damaged.

  >>> import tempfile
  >>> import numpy as np
  >>> start = Start({"w": np.ones(2)}, {}, 0, {"w": np.array([True, True])})
  >>> arrays = {"params": {"w": np.zeros(2)}, "stats": {}, "masks": start.masks}
  >>> digests = {"masks": storage.digest(start.masks)}
  >>> record = {"diverged": False, "digests": digests}
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores, owner = Stores(epath.Path(folder), "0123", print), "run 0123, a"
  ...   storage.save(stores.folder / "a", owner, arrays, record, timing={})
  ...   read_trained(stores, "a", start)
  ...   read_trained(stores, "b", start) is None
  Trained(params={'w': array([0., 0.])}, stats={}, diverged=False)
  True
  """
  like = arrays_of(start)
  masks = storage.digest(start.masks)

  def load(folder, owner):
    arrays, record = storage.load(folder, owner, like)
    found = record["digests"]["masks"], storage.digest(arrays["masks"])
    if found != (masks, masks):
      raise storage.DamagedError(
        f"{folder} has not the masks that the round before leads to."
      )
    return lottery.Trained(
      arrays["params"], arrays["stats"], record["diverged"]
    )

  return read(stores, name, load)


def read_arrays(
  stores: Stores, name: str, like: Start
) -> dict[str, PyTree] | None:
  """Returns the params, stats and masks of a store; None if there are none.

  Args:
    stores: where results lie.
    name: the store, below the workdir; discarded, and said, if it is damaged.
    like: has the same shapes.

  >>> import tempfile
  >>> import numpy as np
  >>> start = Start({"w": np.ones(2)}, {}, 0, {"w": np.array([True, True])})
  >>> arrays = {"params": {"w": np.zeros(2)}, "stats": {}, "masks": start.masks}
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores, owner = Stores(epath.Path(folder), "0123", print), "run 0123, a"
  ...   storage.save(stores.folder / "a", owner, arrays, {}, timing={})
  ...   read_arrays(stores, "a", start)["params"]
  {'w': array([0., 0.])}
  """
  shapes = arrays_of(like)
  return read(
    stores,
    name,
    lambda folder, owner: storage.load(folder, owner, shapes)[0],
  )


def read_record(stores: Stores, name: str) -> dict[str, Any] | None:
  """Returns the record of a store that is as it was written, else None.

  Args:
    stores: where results lie.
    name: the store, below the workdir; discarded, and said, if it is damaged.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", print)
  ...   (stores.folder / "ticket").mkdir()
  ...   storage.write_json(stores.folder / "ticket" / "commit.json", {})
  ...   read_record(stores, "ticket") is None
  warning: .../ticket/commit.json is altered. It is discarded and made again.
  True
  """
  return read(stores, name, storage.load_record)


def save(
  stores: Stores,
  name: str,
  arrays: PyTree,
  record: dict[str, Any],
  timing: dict[str, Any],
) -> None:
  """Stores arrays with what is known of them, if this process writes.

  Args:
    stores: where to.
    name: the store, below the workdir.
    arrays: a pytree of NumPy arrays.
    record: facts of the result, for JSON.
    timing: facts of how it was made, which no digest covers.

  >>> import tempfile
  >>> import numpy as np
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", print)
  ...   save(stores, "ticket", {"w": np.ones(2)}, {"step": 7}, timing={})
  ...   read_record(stores, "ticket")
  {'step': 7}
  """
  if processes.is_first():
    folder, owner = stores.folder / name, lanes.owner(stores.run_id, name)
    storage.save(folder, owner, arrays, record, timing, stores.check)


def discard(stores: Stores, name: str) -> None:
  """Removes a store, if there is one and this process writes.

  Args:
    stores: where results lie.
    name: the store, below the workdir.

  >>> import tempfile
  >>> import numpy as np
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", print)
  ...   save(stores, "ticket", {"w": np.ones(2)}, {"step": 7}, timing={})
  ...   discard(stores, "ticket")
  ...   list(stores.folder.iterdir())
  []
  """
  if processes.is_first():
    storage.discard(stores.folder / name, stores.check)


def saved_start(stores: Stores, parts: study.Study, replicate: int) -> Start:
  """Returns theta_0 from the run's folder, where it is put the first time.

  Args:
    stores: where results lie.
    parts: has the seed, the network and the masks.
    replicate: index of the replicate.

  Returns:
    Weights under full masks, as NumPy arrays.

  >>> import tempfile
  >>> import numpy as np
  >>> from lth_jax import configs, data
  >>> images = np.zeros((6000, 2, 2, 1), np.uint8)
  >>> part = data.Split(images, np.zeros(6000, np.int32))
  >>> dataset = data.Dataset("tiny", part, part, num_classes=2, source="made")
  >>> config = configs.from_flat({"hidden": [], "rates": ["kernel=0.2"]})
  >>> parts = study.make(config, dataset)
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), parts.run_id, print)
  ...   start = saved_start(stores, parts, replicate=0)
  ...   read_record(stores, "replicate_0/rewind")["step"]
  0
  """
  name = rewind_name(replicate)
  start = study.initial_start(parts, replicate)
  stored = read_trained(stores, name, start)
  if stored is not None:
    return start._replace(params=stored.params, stats=stored.stats)
  record = {
    "diverged": False,
    "step": int(start.step),
    "digests": {
      "masks": storage.digest(start.masks),
      "params": storage.digest(start.params),
    },
  }
  arrays = arrays_of(start)
  save(stores, name, arrays, record, {})
  return start


def rewind_name(replicate: int) -> str:
  """Returns the name of the store of theta_0, below the workdir.

  Args:
    replicate: index of the replicate.

  >>> rewind_name(3)
  'replicate_3/rewind'
  """
  return f"replicate_{replicate}/rewind"


def arrays_of(state: Start | TrainState) -> dict[str, PyTree]:
  """Returns what is stored of a lane, or of where one starts.

  Args:
    state: has params, stats and masks.

  >>> arrays_of(Start({"w": 1.0}, {}, 0, {"w": True}))
  {'params': {'w': 1.0}, 'stats': {}, 'masks': {'w': True}}
  """
  return {"params": state.params, "stats": state.stats, "masks": state.masks}
