"""The top of a run's folder: which run it is, on what data, on what machine."""

import contextlib
import importlib.metadata
import platform
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import jax
from etils import epath

from lth_jax import errors
from lth_jax.config import configs, flags, plan
from lth_jax.config.configs import Config
from lth_jax.parallel import devices, processes
from lth_jax.parallel.devices import Layout
from lth_jax.runner import settings
from lth_jax.storage import buckets, files, store

FORMAT = 3
# A file that one host has written is seen by the others after so long.
_SHARED_SECONDS = 30.0
_PROMISE = (
  "Equal bits are promised only for equal jax, backend, processor, number of "
  "CPUs, trials per device and devices per batch."
)
# What a run may leave before its config is there, which is written last, or
# after it was damaged and removed; and what is in a folder that is new: hidden
# files, and those of file systems and file managers.
_OWN_NAME = re.compile(
  r"\..*|lost\+found|Thumbs\.db|desktop\.ini|report|replicate_\d+"
  r"|(config\.json|run\.flags|env\.json)(\..+)?"
)


def settle(
  folder: epath.Path,
  config: Config,
  experiment: str,
  data: str,
  layout: Layout,
  log: Callable[[str], None],
) -> None:
  """Makes the folder this run's, or checks that it is and extends it.

  Writes `config.json`, `run.flags` and `env.json`. Without a `config.json`,
  which may have been removed, it is the stored results that say whose they are.

  Args:
    folder: exists, and is locked.
    config: the run that is asked for.
    experiment: its name.
    data: digest of its images and labels.
    layout: how trials share a device; their last bits depend on it.
    log: told when the machine is not the one that the run began on.

  Raises:
    InputError: the folder holds another run, or the data are not the same.

  >>> import tempfile
  >>> config = Config()
  >>> layout = Layout(1)
  >>> with tempfile.TemporaryDirectory() as name:
  ...   folder = epath.Path(name)
  ...   settle(folder, config, "mnist_lenet", "0a1b", layout, log=print)
  ...   sorted(path.name for path in folder.iterdir())
  ['config.json', 'env.json', 'run.flags']
  """
  path = folder / "config.json"
  if path.exists():
    stored, stored_data = _read(folder)
    _check_same(folder, configs.identity(stored), configs.identity(config))
    _check_grown(folder, stored, config)
    if stored_data != data:
      raise errors.InputError(
        f"--dataset={config.data.dataset}: the images are not the ones that "
        f"this run began with ({path}); give the --data_dir and --source of "
        "then."
      )
  elif foreign := [
    item.name
    for item in buckets.children(folder)
    if not _OWN_NAME.fullmatch(item.name)
  ]:
    raise errors.InputError(
      f"{folder} holds no run (no config.json) but '{foreign[0]}'; choose an "
      "empty or new folder as --workdir."
    )
  resumed = path.exists() or _find_stored(folder, config, data)
  _settle_environment(folder / "env.json", layout, resumed, log)
  store.write_text(folder / "run.flags", flags.to_flagfile(config))
  stored = {
    "format": FORMAT,
    "experiment": experiment,
    "run_id": configs.run_id(config),
    "data": data,
    "config": configs.to_flat(config),
  }
  store.write_json(path, files.seal(stored))


def check_shared(folder: epath.Path) -> None:
  """Checks that all processes of a run see one folder; one alone does.

  Args:
    folder: exists where the first process runs.

  Raises:
    InputError: another process does not find what the first one writes there.

  >>> check_shared(epath.Path("runs/first"))
  """
  if not processes.is_distributed():
    return
  path = folder / ".shared"

  def write() -> str:
    token = uuid.uuid4().hex
    store.write_text(path, token)
    return token

  token = processes.on_process_0(write)
  with processes.raise_in_all():
    deadline = time.monotonic() + _SHARED_SECONDS
    while not (path.exists() and path.read_text() == token):
      if time.monotonic() > deadline:
        raise errors.InputError(
          f"--workdir={folder} is another folder here than for process 0; name "
          "one that all processes see."
        )
      time.sleep(0.1)
  processes.on_process_0(path.unlink)


def read_config(folder: epath.Path) -> Config:
  """Returns the config that a folder's run was last started with.

  Raises:
    InputError: it is damaged or of another format.

  >>> import tempfile
  >>> config = Config(study=configs.Study(rounds=3))
  >>> layout = Layout(1)
  >>> with tempfile.TemporaryDirectory() as name:
  ...   settle(epath.Path(name), config, "lenet", "0a1b", layout, log=print)
  ...   read_config(epath.Path(name)).study.rounds
  3
  """
  return _read(folder)[0]


def _read(folder) -> tuple[Config, str]:
  """Returns the config, and the digest of the images and labels."""
  path = folder / "config.json"
  try:
    stored = store.read_json(path)
  except store.DamagedError as error:
    raise _damaged(path, "it is cut short or altered") from error
  if not isinstance(stored.get("config"), dict):
    raise _damaged(path, "it holds no config")
  if stored.get("format") != FORMAT:
    raise errors.InputError(
      f"{path}: format {stored.get('format')!r} is not "
      f"{FORMAT}, the one this version reads; use the version that wrote it."
    )
  try:
    config = configs.from_flat(stored["config"])
  except errors.InputError as error:
    raise _damaged(path, str(error).rstrip(".")) from error
  if stored.get("run_id") != configs.run_id(config):
    raise _damaged(path, "its run_id is not that of its fields")
  try:
    files.unseal(stored)
    return config, stored["data"]
  except (KeyError, ValueError) as error:
    raise _damaged(path, str(error)) from error


def _find_stored(folder, config: Config, data: str) -> bool:
  """Says whether there are results; refuses those of another run."""
  run_id, found = configs.run_id(config), False
  for pattern in ("replicate_*/rewind", "replicate_*/round_*/*"):
    for path in sorted(folder.glob(f"{pattern}/commit.json")):
      name = path.parent.relative_to(folder).as_posix()
      with contextlib.suppress(store.DamagedError):  # is discarded later
        owner = plan.owner(run_id, data, name)
        found = bool(store.check_owner(path.parent, owner))
  return found


def _damaged(path: epath.Path, reason: str) -> errors.InputError:
  return errors.InputError(
    f"{path} is damaged: {reason}. Remove it and start the run again with "
    f"--flagfile={path.parent / 'run.flags'}."
  )


def _check_same(folder, stored, asked):
  changed = [
    f"--{name} (stored {stored[name]}, asked {asked[name]})"
    for name in stored
    if stored[name] != asked[name]
  ]
  if changed:
    raise errors.InputError(
      f"{folder} holds another run, which differs in {', '.join(changed)}; "
      "ask for the stored values, or choose another --workdir."
    )


def _check_grown(folder, stored: Config, asked: Config):
  old, new = stored.study, asked.study
  last_old = old.first_replicate + old.replicates
  last_new = new.first_replicate + new.replicates
  every_round = not new.control_rounds
  grown = {
    "rounds": new.rounds >= old.rounds,
    "reinits": new.reinits >= old.reinits,
    "first_replicate": new.first_replicate <= old.first_replicate,
    "replicates": last_new >= last_old,
    "arms": set(new.arms) >= set(old.arms),
    "noise": "noise" not in old.arms
    or new.noise[: len(old.noise)] == old.noise,
    "control_rounds": every_round
    or (
      old.control_rounds and set(new.control_rounds) >= {*old.control_rounds}
    ),
  }
  for name, fine in grown.items():
    if not fine:
      raise errors.InputError(
        f"--{name}={configs.show(getattr(new, name))}: {folder} was run with "
        f"{configs.show(getattr(old, name))}, and a run may only grow."
      )


def _settle_environment(path, layout, resumed, log):
  """Adds this machine to `env.json` unless the last one was the same."""
  now = environment() | layout._asdict()
  seen = _read_key(path, "environments", list) if path.exists() else []
  if resumed and not seen:
    log(
      f"note: {path} is gone, so where this run began is not known. {_PROMISE}"
    )
  changed = [
    f"{name} was {before}, is {now.get(name, 'not known')}"
    for name, before in (seen[-1] if seen else {}).items()
    if now.get(name) != before
  ]
  if changed:
    log(f"note: this run began elsewhere: {'; '.join(changed)}. {_PROMISE}")
  if not seen or seen[-1] != now:
    seen = [*seen, now]
  store.write_json(path, files.seal({"environments": seen}))


def layouts(folder: epath.Path) -> list[Layout]:
  """Returns how trials shared a device in a run so far, the first way first.

  Args:
    folder: the workdir.

  Raises:
    InputError: what it says of that is damaged.

  >>> import tempfile
  >>> with tempfile.TemporaryDirectory() as name:
  ...   folder, layout = epath.Path(name), Layout(4)
  ...   settle(folder, Config(), "lenet", "0a1b", layout, log=print)
  ...   layouts(folder)
  [Layout(trials_per_device=4, batch_devices=1)]
  """
  path = folder / "env.json"
  seen = _read_key(path, "environments", list) if path.exists() else []
  found = []
  for each in seen:
    layout = Layout(*(each.get(name, 1) for name in Layout._fields))
    if not all(type(number) is int and number > 0 for number in layout):
      raise _altered(path, "trials_per_device")
    found.append(layout)
  return found


def _read_key(path, key: str, kind: type) -> Any:
  """Reads one entry of a file that only this module writes."""
  try:
    content = store.read_json(path)
  except store.DamagedError as error:
    raise errors.InputError(f"{error} Remove it; it is made again.") from error
  value = content.get(key)
  items = value if isinstance(value, list) else []
  if not isinstance(value, kind) or not all(isinstance(x, dict) for x in items):
    raise _altered(path, key)
  try:
    files.unseal(content)
  except ValueError as error:
    raise _altered(path, key) from error
  return value


def _altered(path, key: str) -> errors.InputError:
  return errors.InputError(
    f"{path} is damaged: '{key}' is not as it was written. Remove it; it is "
    "made again."
  )


def environment() -> dict[str, Any]:
  """Returns the versions and the machine, as far as results depend on them.

  >>> now = environment()
  >>> now["jax"] == jax.__version__, now["cpus"] == devices.usable_cpus()
  (True, True)
  """
  versions = {
    name: importlib.metadata.version(name)
    for name in ("jax", "jaxlib", "flax", "optax", "numpy")
  }
  return {
    **versions,
    "python": platform.python_version(),
    "machine": platform.machine(),
    "processor": _processor(),
    "backend": jax.default_backend(),
    "device_kind": jax.local_devices()[0].device_kind,
    "cpus": devices.usable_cpus(),
    **settings.recorded(),
  }


def _processor() -> str:
  """Names the processor's vector instructions: sums depend on their width."""
  try:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
      lines = [line.split(":", 1) for line in file if ":" in line]
  except OSError:  # not Linux
    return platform.processor()
  flags = next((v for k, v in lines if k.strip() in ("flags", "Features")), "")
  vector = ("avx", "fma", "amx", "asimd", "sve")
  return " ".join(sorted(x for x in flags.split() if x.startswith(vector)))
