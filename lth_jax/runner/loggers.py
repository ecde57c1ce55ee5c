"""Measurements for TensorBoard and Weights & Biases, through their libraries.

`metrics.jsonl` has the same numbers, always and completely; these are copies to
look at. TensorBoard has a folder a trial, in `<workdir>/tensorboard`. Weights &
Biases has one run a workdir, with a chart a trial and metric; its project is
that of WANDB_PROJECT, and WANDB_MODE=offline keeps it in `<workdir>/wandb`.

After a kill a trial goes on at its last save. The steps since then come twice,
with equal numbers: TensorBoard drops the first, Weights & Biases keeps both.
"""

import contextlib
import functools
import importlib.util
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from lth_jax import errors
from lth_jax.config import configs
from lth_jax.config.configs import Config
from lth_jax.parallel import progress
from lth_jax.storage import buckets

# Takes a trial's name, a step, what was measured, and whether it was the last.
Logger = Callable[[str, int, Mapping[str, float], bool], None]


def check(config: Config, folder: epath.Path) -> None:
  """Checks that the loggers of a config can be used.

  Raises:
    InputError: a package is missing, or the workdir is on an object store.
  """
  for name in config.execution.log:
    if buckets.is_remote(folder):
      raise errors.InputError(
        f"--log={name}: writes to folders of this machine only; leave it out "
        f"and read {folder}/metrics.jsonl."
      )
    package, _ = _LOGGERS[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:  # a folder of that name has none
      raise errors.InputError(
        f"--log={name}: needs the package {package}: `pip install {package}`."
      )


@contextlib.contextmanager
def start(config: Config, folder: epath.Path) -> Iterator[Sequence[Logger]]:
  """Yields the loggers that `--log` names, for one thread at a time."""
  with contextlib.ExitStack() as stack:
    loggers = []
    for name in config.execution.log:
      _, begin = _LOGGERS[name]
      logger = stack.enter_context(begin(config, folder))
      loggers.append(_forgiving(name, logger))
    yield loggers


def _forgiving(name: str, logger: Logger) -> Logger:
  """Returns a logger that ends at its first failure; training goes on."""
  failed = False

  def log(trial: str, step: int, values: Mapping[str, float], last: bool):
    nonlocal failed
    if failed:
      return
    try:
      logger(trial, step, values, last)
    except Exception as error:
      failed = True
      progress.log(
        f"note: --log={name} has failed ({errors.first_line(error)}) and ends; "
        "metrics.jsonl goes on."
      )

  return log


@contextlib.contextmanager
def _tensorboard(config: Config, folder: epath.Path) -> Iterator[Logger]:
  del config
  import tensorboardX

  writers: dict[str, Any] = {}

  def log(trial: str, step: int, values: Mapping[str, float], last: bool):
    if trial not in writers:
      # Hides what an earlier process has logged of this trial.
      writers[trial] = tensorboardX.SummaryWriter(
        str(folder / "tensorboard" / trial), purge_step=0
      )
    for name, value in values.items():
      writers[trial].add_scalar(name, value, step)
    if last:
      writers.pop(trial).close()

  try:
    yield log
  finally:
    for writer in writers.values():
      writer.close()


@contextlib.contextmanager
def _wandb(config: Config, folder: epath.Path) -> Iterator[Logger]:
  import wandb

  path = folder / "wandb" / "id"
  path.parent.mkdir(exist_ok=True)
  if not path.exists():
    path.write_text(f"{configs.run_id(config)}-{uuid.uuid4().hex[:8]}")
  try:
    run = wandb.init(
      id=path.read_text(),
      resume="allow",
      dir=str(folder),
      config=configs.to_flat(config),
      settings=wandb.Settings(silent=True),
    )
  except wandb.Error as error:
    raise errors.InputError(
      f"--log=wandb: {errors.first_line(error)}; log in with `wandb login`, or "
      "set WANDB_MODE=offline."
    ) from error

  @functools.cache
  def has_own_steps(trial: str) -> None:
    run.define_metric(f"{trial}/*", step_metric=f"{trial}/step")

  def log(trial: str, step: int, values: Mapping[str, float], last: bool):
    del last
    has_own_steps(trial)
    found = {"step": step, **values}
    run.log({f"{trial}/{name}": value for name, value in found.items()})

  try:
    yield log
  finally:  # as a context manager it would print the exception of a stop
    try:
      run.finish()
    except Exception as error:
      progress.log(
        f"note: --log=wandb did not end well ({errors.first_line(error)})."
      )


_LOGGERS = {
  "tensorboard": ("tensorboardX", _tensorboard),
  "wandb": ("wandb", _wandb),
}
