"""A whole run: from a config to a workdir that is complete.

Each trial is trained unless its result is on disk. So starting a run, resuming
it and extending it are the same code.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from etils import epath

from lth_jax import data, errors
from lth_jax.config import configs, plan
from lth_jax.config.configs import Config
from lth_jax.parallel import devices as devices_lib
from lth_jax.parallel import processes, progress, vmapped
from lth_jax.parallel.devices import Layout
from lth_jax.runner import (
  build,
  compilation_cache,
  environment,
  loggers,
  metrics,
  renewal,
  replicates,
  settings,
  tickets,
  workdir,
)
from lth_jax.runner import own as own_lib
from lth_jax.runner.checkpoints import Checkpoints
from lth_jax.runner.records import Results
from lth_jax.runner.trials import Context
from lth_jax.storage import files, lock

# Flags that may differ between the processes of a run.
_OWN = {"compilation_cache", "data_dir", "source", "progress"}


def run(
  config: Config,
  folder: epath.Path,
  experiment: str,
  stop: threading.Event,
  own: own_lib.Own | None = None,
) -> None:
  """Starts, resumes or extends a run; returns when it is complete.

  Args:
    config: what to run.
    folder: the workdir.
    experiment: its name, recorded.
    stop: when set, the run saves what it has and raises `StoppedError`.
    own: functions that the config names; by default those of `--module`.

  Raises:
    InputError: the config is wrong, or the workdir holds another run.
    StoppedError: `stop` was set.
    OSError: the workdir cannot be written.
  """
  for setting in settings.fix(config.training.matmul_precision):
    processes.log(
      f"note: {setting} would change numbers or end the run; it is not used."
    )
  # The processes' first exchange must come soon after their backends start:
  # gloo waits 30 s for it, and loading the data can take longer than that.
  with processes.raise_in_all():
    asked = config.execution
    loggers.check(config, folder)
    devices = devices_lib.find(
      asked.devices, plan.num_at_once(config), asked.batch_devices
    )
    compilation_cache.use(asked.compilation_cache)
  with processes.raise_in_all():
    own = own_lib.load(config) if own is None else own
    config = own_lib.bind(config, own)
    components, digest = _build(config, own)
  processes.check_equal(lambda: _common(config, folder, digest))
  with _locked(folder, stop) as check:
    layout = processes.on_process_0(
      lambda: _initialize(folder, config, experiment, digest, devices)
    )
    workdir.check_shared(folder)
    checkpoints = Checkpoints(
      folder, components.run_id, digest, processes.log, check
    )
    results = processes.on_process_0(
      lambda: replicates.recover_results(components, checkpoints)
    )
    _train_missing(components, checkpoints, results, devices, layout, stop)
    processes.on_process_0(
      lambda: tickets.describe(components, checkpoints, results)
    )


def _build(config: Config, own: own_lib.Own) -> tuple[build.Components, str]:
  """Returns the components and the digest of the images and labels."""
  asked, name = config.execution, config.data.dataset
  if name in own.functions:
    dataset = data.checked(own.functions[name](asked.data_dir))
  else:
    try:
      dataset = data.load(name, source=asked.source, data_dir=asked.data_dir)
    except errors.InputError as error:
      known = f" Functions of --module: {', '.join(own.functions)}."
      raise errors.InputError(
        f"{error}{known * bool(own.functions)}"
      ) from error
  if dataset.source == "own":
    processes.log(data.summary(dataset))
  components = build.make(config, dataset, own.functions)
  return components, files.digest(data.digests(dataset))


def _common(config, folder, digest) -> dict[str, Any]:
  """Returns what all processes must have in common, with names for people."""
  asked = configs.to_flat(config)
  asked = {f"--{name}": asked[name] for name in asked.keys() - _OWN}
  return {
    "--workdir": str(folder),
    **dict(sorted(asked.items())),
    "the data set": digest,
    **environment.describe(),
    "commit": None,  # not known where git refuses the clone, or is missing
  }


@contextlib.contextmanager
def _locked(
  folder: epath.Path, stop: threading.Event
) -> Iterator[Callable[[], None]]:
  """Holds the folder, in process 0; yields the check that it still does."""
  with contextlib.ExitStack() as stack:
    check = None
    with processes.raise_in_all():
      if processes.is_process_0():
        folder.mkdir(parents=True, exist_ok=True)
        check = stack.enter_context(lock.hold(folder, progress.log, stop))
    yield check or (lambda: None)


def _initialize(folder, config, experiment, digest, devices) -> Layout:
  """Makes the folder this run's, and chooses how trials share devices."""
  layout = devices_lib.choose_layout(
    config, devices, environment.layouts(folder)
  )
  workdir.initialize(folder, config, experiment, digest, layout)
  return layout


@contextlib.contextmanager
def _outputs(
  components, checkpoints, results
) -> Iterator[tuple[metrics.Stream | None, Callable[[], None]]]:
  """Yields the stream of measurements, and a function that renews the report.

  Only process 0 has them.
  """
  if not processes.is_process_0():
    yield None, lambda: None
    return
  folder, config = checkpoints.folder, components.config

  def finished():
    for trial in plan.trials(config):
      if trial.name in results:
        # Another thread may discard a result that does not follow any more.
        with contextlib.suppress(files.DamagedError):
          yield files.read_json(folder / trial.name / "record.json")

  with (
    loggers.start(config, folder) as started,
    renewal.renewing(folder, checkpoints.log) as renew,
  ):
    stream = metrics.Stream(folder, finished, components.num_images, started)
    yield stream, renew
  stream.write()


def _train_missing(
  components, checkpoints, results, devices, layout, stop
) -> None:
  """Trains every trial that has no result."""
  config, width = components.config, layout.trials_per_device
  missing = replicates.missing(config, results)
  if not missing:
    processes.log(f"{checkpoints.folder} is complete, nothing to train.")
    return
  workdir.wait_for_starts(checkpoints.folder, config)
  workers = devices_lib.make_workers(
    devices, components.data, layout.batch_devices
  )
  num_steps = sum(len(plan.steps(config, trial)) for trial in missing)
  at_once = f", {width} at once on each" * (width > 1)
  processes.log(
    f"{len(missing)} training run{'s' * (len(missing) > 1)} of "
    f"{num_steps:,} steps in all on {len(devices)} x "
    f"{devices[0].device_kind}{at_once}."
  )
  began = time.monotonic()
  is_shown = processes.is_process_0()
  kind = config.execution.progress if is_shown else "none"
  with contextlib.ExitStack() as stack:
    display = stack.enter_context(progress.show(kind, num_steps))
    if is_shown:
      checkpoints = checkpoints._replace(log=display.log)
    outputs = _outputs(components, checkpoints, results)
    with processes.raise_in_all():
      stream, renew = stack.enter_context(outputs)
    context = Context(
      components,
      checkpoints,
      results,
      vmapped.make(components.trainer, width),
      display,
      stream,
      renew,
      stop,
      failures=[],
    )
    replicates.train_all(context, workers)
  processes.log(f"Trained in {progress.duration(time.monotonic() - began)}.")
  _log_diverged([trial.name for trial in missing], results)


def _log_diverged(trained: Sequence[str], results: Results) -> None:
  """Tells which of the trained trials diverged, and what to do."""
  diverged = [name for name in trained if results.get(name, {}).get("diverged")]
  if diverged:
    more = f" and {len(diverged) - 3} more" * (len(diverged) > 3)
    processes.log(
      f"{len(diverged)} of them diverged (a loss was not finite): "
      f"{', '.join(sorted(diverged)[:3])}{more}. They are left out of the "
      "report, and what would be pruned from them is not trained. Try a "
      "smaller --learning_rate, or --warmup, in another --workdir."
    )
