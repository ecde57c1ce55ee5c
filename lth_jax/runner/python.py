"""Runs from Python and notebooks, with functions of one's own."""

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from lth_jax import data, errors, models, optim, report
from lth_jax.config import configs, flags
from lth_jax.config.configs import Config
from lth_jax.data import augment as augment_lib
from lth_jax.lottery import controls as controls_lib
from lth_jax.runner import build, command, experiment
from lth_jax.runner import own as own_lib
from lth_jax.storage import buckets


def run(
  config: Config,
  workdir: str,
  *,
  model: models.Maker | None = None,
  dataset: data.Dataset | None = None,
  score: build.Score | None = None,
  controls: Sequence[controls_lib.Control] = (),
  optimizer: optim.Maker | None = None,
  augment: augment_lib.Augment | None = None,
) -> epath.Path:
  """Runs, resumes or extends a run, and writes its report.

  Each function takes the place of what the config names, under its own name;
  controls become arms, beside the config's. The code that functions come from
  is part of the run's identity. In the main thread, signals save and stop the
  run, as they do a command.

  Args:
    config: the rest of the run.
    workdir: its folder, a path or a gs:// URL; resumed if it holds a run.
    model: returns the network for `(H, W, C)`, a number of classes and options.
    dataset: the images; by default those that the config names.
    score: returns the importance of trained weights.
    controls: each returns where a control begins, from a ticket.
    optimizer: returns the part of an optimizer that makes updates of gradients.
    augment: changes the uint8 images of a training step.

  Returns:
    The report's page.

  Raises:
    InputError: the config is wrong, or the workdir holds another run.
    StoppedError: a signal has stopped the run; what was done is saved.
  """
  asked = {"model": model, "score": score}
  asked |= {"optimizer": optimizer, "augment": augment}
  given = {field: function for field, function in asked.items() if function}
  functions = {_name(x): x for x in (*given.values(), *controls)}
  if len(functions) < len({*given.values(), *controls}):
    raise errors.InputError("Two functions have one name; rename one of them.")
  own = own_lib.collect(functions) if functions else own_lib.load(config)
  names = {field: _name(function) for field, function in given.items()}
  arms = dict.fromkeys((*config.study.arms, *map(_name, controls)))
  names |= {"arms": list(arms), "code": own.code}
  if dataset is not None:
    names["dataset"] = dataset.name
    loaders = {dataset.name: lambda data_dir: dataset}
    own = own._replace(functions={**own.functions, **loaders})
  config = configs.from_flat(configs.to_flat(config) | names)
  folder = buckets.connect(flags.folder(str(workdir)))
  with contextlib.ExitStack() as stack:
    stop = threading.Event()
    if threading.current_thread() is threading.main_thread():
      stop = stack.enter_context(command.stop_signals())
    experiment.run(config, folder, "python", stop, own)
  return report.write(folder)


def _name(function: Callable[..., Any]) -> str:
  name = getattr(function, "__name__", "")
  if not name.isidentifier():
    raise errors.InputError(
      f"{function!r}: has no name that a run could have; define it with `def`."
    )
  return name
