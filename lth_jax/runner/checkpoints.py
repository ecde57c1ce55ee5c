"""The results of a run, each a store of its own below the workdir.

Where several processes work on a run, all of them read and the first one alone
writes.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from etils import epath

from lth_jax import errors
from lth_jax.config import plan
from lth_jax.lottery import rounds
from lth_jax.parallel import processes
from lth_jax.runner import build
from lth_jax.storage import store
from lth_jax.training.loop import Start, TrainState

PyTree = Any
# What a result may have been derived from that cannot be made again by itself.
# To remake the result from another one would hide that it is lost.
_LOST = {
  "theta_0": "theta_0 is gone and is another one here; go on where the run "
  "began, or remove the replicate's folder",
  "split": "this version of JAX splits the images otherwise; use the one that "
  "the run began with (env.json), or another --workdir",
  "noise": "ask for the --noise that the run was stored with",
}


class Stores(NamedTuple):
  """Where the results of a run lie.

  Attributes:
    folder: the workdir.
    run_id: what every store below it must belong to.
    data: digest of the images and labels, likewise.
    say: told what is damaged.
    check: called before anything is committed or removed; raises if this
      process may not write any more.
  """

  folder: epath.Path
  run_id: str
  data: str
  log: Callable[[str], None]
  check: Callable[[], None] = lambda: None


def read(
  stores: Stores, name: str, load: Callable[[epath.Path, str], Any]
) -> Any:
  """Reads a store; None if there is none, or a damaged one, which is said.

  Args:
    stores: where results lie.
    name: the store, below the workdir; discarded, and said, if it is damaged.
    load: called with its folder and the owner that it must have; raises
      `store.DamagedError`.

  >>> import tempfile
  >>> def load(folder, owner):
  ...   raise store.DamagedError(f"{folder.name} is no store.")
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", "4567", print)
  ...   (stores.folder / "ticket").mkdir()
  ...   files.write_json(stores.folder / "ticket" / "commit.json", {})
  ...   read(stores, "ticket", load) is None
  warning: ticket is no store. It is discarded and made again.
  True
  """
  folder = stores.folder / name
  if not store.exists(folder):
    return None
  try:
    return load(folder, plan.owner(stores.run_id, stores.data, name))
  except store.DamagedError as error:
    stores.log(f"warning: {error} It is discarded and made again.")
    discard(stores, name)
    return None


def read_trained(
  stores: Stores, name: str, like: Start, origin: Mapping[str, Any]
) -> rounds.Trained | None:
  """Returns a trial's stored weights; None if there are none.

  Args:
    stores: where results lie.
    name: the store, below the workdir.
    like: has the same shapes.
    origin: as for `read_record`.

  >>> import tempfile
  >>> import numpy as np
  >>> start = Start({"w": np.ones(2)}, {}, 0, {"w": np.array([True, True])})
  >>> record = {"diverged": False, "origin": {"masks": "0a"}}
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123", "4567", print)
  ...   save(stores, "a", arrays_of(start), record, timing={})
  ...   read_trained(stores, "a", start, {"masks": "0a"})
  ...   read_trained(stores, "a", start, {"masks": "1b"}) is None
  Trained(params={'w': array([1., 1.])}, stats={}, diverged=False)
  warning: .../a was made from other masks. It is discarded and made again.
  True
  """
  shapes = arrays_of(like)

  def load(folder, owner):
    arrays, record = store.load(folder, owner, shapes)
    _check_origin(folder, record, origin)
    return rounds.Trained(arrays["params"], arrays["stats"], record["diverged"])

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
  ...   stores = Stores(epath.Path(folder), "0123", "4567", print)
  ...   save(stores, "a", arrays, {}, timing={})
  ...   read_arrays(stores, "a", start)["params"]
  {'w': array([0., 0.])}
  """
  shapes = arrays_of(like)
  return read(
    stores,
    name,
    lambda folder, owner: store.load(folder, owner, shapes)[0],
  )


def read_record(
  stores: Stores, name: str, origin: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
  """Returns the record of a store that is as it was written, else None.

  Args:
    stores: where results lie.
    name: the store, below the workdir; discarded, and said, if it is damaged.
    origin: what it must have been derived from, as far as that is known; one
      that was derived from something else counts as damaged.

  Raises:
    InputError: its origin is lost, or the store is another run's.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", "4567", print)
  ...   (stores.folder / "ticket").mkdir()
  ...   files.write_json(stores.folder / "ticket" / "commit.json", {})
  ...   read_record(stores, "ticket") is None
  warning: .../ticket/commit.json is altered. It is discarded and made again.
  True
  """

  def load(folder, owner):
    record = store.load_record(folder, owner)
    _check_origin(folder, record, origin or {})
    return record

  return read(stores, name, load)


def _check_origin(folder, record, origin: Mapping[str, Any]) -> None:
  found = record.get("origin", {})
  for name, value in origin.items():
    if found.get(name) == value:
      continue
    if name in _LOST:
      raise errors.InputError(
        f"{folder} was made from another {name}: {_LOST[name]}."
      )
    raise store.DamagedError(f"{folder} was made from other {name}.")


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
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", "4567", print)
  ...   save(stores, "ticket", {"w": np.ones(2)}, {"step": 7}, timing={})
  ...   read_record(stores, "ticket")
  {'step': 7}
  """
  if processes.is_first():
    owner = plan.owner(stores.run_id, stores.data, name)
    folder = stores.folder / name
    store.save(folder, owner, arrays, record, timing, stores.check)


def discard(stores: Stores, name: str) -> None:
  """Removes a store, if there is one and this process writes.

  Args:
    stores: where results lie.
    name: the store, below the workdir.

  >>> import tempfile
  >>> import numpy as np
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), "0123456789abcdef", "4567", print)
  ...   save(stores, "ticket", {"w": np.ones(2)}, {"step": 7}, timing={})
  ...   discard(stores, "ticket")
  ...   list(stores.folder.iterdir())
  []
  """
  if processes.is_first():
    store.discard(stores.folder / name, stores.check)


def begin(parts: build.Study, replicate: int) -> tuple[Start, dict[str, Any]]:
  """Returns theta_0 as this machine makes it, and the origin of its store.

  Args:
    parts: has the seed, the network and the masks.
    replicate: index of the replicate.

  Returns:
    Weights under full masks, as NumPy arrays; and digests of them, of their
    masks and of the split.

  >>> from lth_jax.config import configs

  >>> from lth_jax import data
  >>> config = configs.from_flat({"hidden": [], "rates": ["kernel=0.2"]})
  >>> start, origin = begin(build.make(config, data.load("mnist_10k")), 0)
  >>> sorted(origin), origin["theta_0"] == store.digest(start)
  (['masks', 'split', 'theta_0'], True)
  """
  start = build.initial_start(parts, replicate)
  return start, {
    "theta_0": store.digest(start),
    "masks": store.digest(start.masks),
    "split": store.digest(jax.device_get(build.split(parts, replicate))),
  }


def saved_start(
  stores: Stores, parts: build.Study, replicate: int
) -> tuple[Start, dict[str, Any]]:
  """Returns theta_0 from the run's folder, where it is put the first time.

  Args:
    stores: where results lie.
    parts: has the seed, the network and the masks.
    replicate: index of the replicate.

  Returns:
    As `begin`.

  Raises:
    InputError: the images are split otherwise than when it was stored.

  >>> import tempfile
  >>> import numpy as np
  >>> from lth_jax.config import configs
  >>> from lth_jax import data
  >>> images = np.zeros((6000, 2, 2, 1), np.uint8)
  >>> part = data.Examples(images, np.zeros(6000, np.int32))
  >>> dataset = data.Dataset("tiny", part, part, num_classes=2, source="made")
  >>> config = configs.from_flat({"hidden": [], "rates": ["kernel=0.2"]})
  >>> parts = build.make(config, dataset)
  >>> with tempfile.TemporaryDirectory() as folder:
  ...   stores = Stores(epath.Path(folder), parts.run_id, "4567", print)
  ...   start, origin = saved_start(stores, parts, replicate=0)
  ...   read_record(stores, "replicate_0/rewind")["step"]
  0
  """
  name = rewind_name(replicate)
  start, origin = begin(parts, replicate)
  fixed = {name: origin[name] for name in ("split", "masks")}
  stored = read_trained(stores, name, start, fixed)
  if stored is not None:
    start = start._replace(params=stored.params, stats=stored.stats)
    return start, origin | {"theta_0": store.digest(start)}
  record = {
    "diverged": False,
    "step": int(start.step),
    "origin": origin,
    "digests": {"params": store.digest(start.params)},
  }
  save(stores, name, arrays_of(start), record, {})
  return start, origin


def rewind_name(replicate: int) -> str:
  """Returns the name of the store of theta_0, below the workdir.

  Args:
    replicate: index of the replicate.

  >>> rewind_name(3)
  'replicate_3/rewind'
  """
  return f"replicate_{replicate}/rewind"


def arrays_of(state: Start | TrainState) -> dict[str, PyTree]:
  """Returns what is stored of a trial, or of where one starts.

  Args:
    state: has params, stats and masks.

  >>> arrays_of(Start({"w": 1.0}, {}, 0, {"w": True}))
  {'params': {'w': 1.0}, 'stats': {}, 'masks': {'w': True}}
  """
  return {"params": state.params, "stats": state.stats, "masks": state.masks}
