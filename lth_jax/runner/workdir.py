"""The folder of a run: which run it holds, and on what data.

`config.json` tells which run it is. Fields that decide results cannot change;
rounds, replicates and arms may grow; execution fields may change.
"""

import contextlib
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

from etils import epath

from lth_jax import errors
from lth_jax.config import configs, flags, plan
from lth_jax.config.configs import Config
from lth_jax.parallel import processes, progress
from lth_jax.parallel.devices import Layout
from lth_jax.report import parsing
from lth_jax.runner import checkpoints, environment
from lth_jax.storage import buckets, files, store

# A shared file system may show a new file to other hosts after this long.
_SHARED_SECONDS = 30.0
# A new folder may hold hidden files, files of file systems and file managers,
# and what a run leaves if it is killed before it writes its config.
_ALLOWED_NAMES = re.compile(
  r"\..*|lost\+found|Thumbs\.db|desktop\.ini|report|replicate_\d+"
  r"|tensorboard|wandb"
  r"|(config\.json|run\.flags|env\.json|metrics\.jsonl)(\..+)?"
)


def initialize(
  folder: epath.Path,
  config: Config,
  experiment: str,
  data: str,
  layout: Layout,
) -> None:
  """Makes a folder the workdir of a run, or checks that it is and extends it.

  Writes `env.json`, `run.flags` and `config.json`. If a person has removed
  `config.json`, the stored results tell which run they belong to.

  Args:
    folder: exists, and is locked.
    config: of the run that is asked for.
    experiment: its name.
    data: digest of its images and labels.
    layout: how trials share a device; their last bits depend on it.

  Raises:
    InputError: the folder holds another run, or one on other data.
  """
  path = folder / "config.json"
  if path.exists():
    stored, stored_data = _read(path)
    _check_same(folder, configs.identity(stored), configs.identity(config))
    _check_grown(folder, stored, config)
    if stored_data != data:
      raise errors.InputError(
        f"--dataset={config.data.dataset}: the images are not the ones that "
        f"this run began with ({path}); give the --data_dir and --source of "
        "then."
      )
    resumed = True
  else:
    _check_new(folder)
    resumed = _has_results(folder, config, data)
  for note in environment.record(folder, layout, resumed):
    progress.log(note)
  files.write(folder / "run.flags", flags.to_flagfile(config).encode())
  content = {
    "format": files.FORMAT,
    "experiment": experiment,
    "run_id": configs.run_id(config),
    "data": data,
    "config": configs.to_flat(config),
  }
  files.write_json(path, files.add_checksum(content))


def read_config(folder: epath.Path) -> Config:
  """Returns the config that a run was last started with.

  Raises:
    InputError: it is damaged or of another format.
  """
  return _read(folder / "config.json")[0]


def check_shared(folder: epath.Path) -> None:
  """Checks that all processes of a run see one folder.

  Raises:
    InputError: another process does not find a file that process 0 writes.
  """
  if not processes.is_distributed():
    return
  path = folder / ".shared"

  def write() -> str:
    token = uuid.uuid4().hex
    files.write(path, token.encode())
    return token

  token = processes.on_process_0(write)
  _wait(folder, lambda: path.exists() and path.read_text() == token)
  processes.on_process_0(path.unlink)


def wait_for_starts(folder: epath.Path, config: Config) -> None:
  """Waits until all processes see theta_0 of every replicate.

  Raises:
    InputError: another process does not find one.
  """
  if processes.is_distributed():
    names = map(checkpoints.rewind_name, plan.replicates(config))
    paths = [folder / name for name in names]
    _wait(folder, lambda: all(map(store.exists, paths)))


def _wait(folder: epath.Path, is_seen: Callable[[], bool]) -> None:
  with processes.raise_in_all():
    deadline = time.monotonic() + _SHARED_SECONDS
    while not is_seen():
      if time.monotonic() > deadline:
        raise errors.InputError(
          f"--workdir={folder} is another folder here than for process 0; name "
          "one that all processes see."
        )
      time.sleep(0.1)


def _read(path: epath.Path) -> tuple[Config, str]:
  """Returns the config, and the digest of the images and labels."""
  flagfile = path.parent / "run.flags"
  remedy = f"remove it and start the run again with --flagfile={flagfile}"
  return parsing.load(path, _parse, remedy)


def _parse(content: dict[str, Any]) -> tuple[Config, str]:
  stored = files.verify_checksum(content)
  config = configs.from_flat(stored["config"])
  if stored["run_id"] != configs.run_id(config):
    raise ValueError("its run_id is not that of its fields")
  return config, stored["data"]


def _check_new(folder: epath.Path) -> None:
  names = [path.name for path in buckets.children(folder)]
  other = [name for name in names if not _ALLOWED_NAMES.fullmatch(name)]
  if other:
    raise errors.InputError(
      f"{folder} holds no run (no config.json) but '{other[0]}'; choose an "
      "empty or new folder as --workdir."
    )


def _has_results(folder: epath.Path, config: Config, data: str) -> bool:
  """Returns whether there are results; raises InputError for another run's."""
  run_id, found = configs.run_id(config), False
  for pattern in ("replicate_*/rewind", "replicate_*/round_*/*"):
    for path in sorted(folder.glob(f"{pattern}/commit.json")):
      name = path.parent.relative_to(folder).as_posix()
      with contextlib.suppress(store.DamagedError):  # will be discarded
        store.check_owner(path.parent, plan.owner(run_id, data, name))
        found = True
  return found


def _check_same(folder, stored, asked) -> None:
  if stored["code"] != asked["code"] and stored["code"] and asked["code"]:
    raise errors.InputError(
      f"{folder} holds a run of other code: {stored['code']} (SHA-256) when it "
      f"began, {asked['code']} now; restore that code, or choose another "
      "--workdir."
    )
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


def _check_grown(folder, stored: Config, asked: Config) -> None:
  old, new = stored.study, asked.study
  last_old = old.first_replicate + old.replicates
  last_new = new.first_replicate + new.replicates
  # No control rounds means all of them.
  grown = {
    "rounds": new.rounds >= old.rounds,
    "reinits": new.reinits >= old.reinits,
    "randoms": new.randoms >= old.randoms,
    "first_replicate": new.first_replicate <= old.first_replicate,
    "replicates": last_new >= last_old,
    "arms": set(new.arms) >= set(old.arms),
    "noise": "noise" not in old.arms
    or new.noise[: len(old.noise)] == old.noise,
    "control_rounds": not new.control_rounds
    or (
      bool(old.control_rounds)
      and set(new.control_rounds) >= set(old.control_rounds)
    ),
  }
  for name, fine in grown.items():
    if not fine:
      raise errors.InputError(
        f"--{name}={configs.show(getattr(new, name))}: {folder} was run with "
        f"{configs.show(getattr(old, name))}, and a run may only grow."
      )
