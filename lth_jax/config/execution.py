"""How a run is computed: devices, processes, saves, and what a user sees."""

import dataclasses
import math
from typing import Literal

from lth_jax.config import checks

LOGGERS = ("tensorboard", "wandb")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Execution(checks.Section):
  """How it is computed.

  Of a result, only last bits depend on this: on `trials_per_device` and
  `batch_devices`.
  """

  source: Literal["auto", "own", "bundled", "idx", "cifar", "tfds"] = (
    checks.field(
      "auto",
      "Where the data set is read from: 'own' is npz:, idx: and folder:; "
      "'bundled' is the package; 'idx' (MNIST, Fashion-MNIST) and 'cifar' are "
      "original files in --data_dir; 'tfds' is what TFDS prepared; 'auto' "
      "takes the first that has it.",
    )
  )
  data_dir: str | None = checks.field(
    None,
    "Folder of the data set's files, or of data that TFDS prepared; or an "
    "archive of the files.",
  )
  module: str | None = checks.field(
    None,
    "Python file with functions of your own, which --model, --dataset, "
    "--score, --arms, --optimizer and --augment may name.",
  )
  devices: int = checks.field(
    0,
    "Devices to train on at once; on CPU one host device a core. 0 takes all.",
    checks.at_least(0),
  )
  trials_per_device: int = checks.field(
    0,
    "Training runs that a device trains at once: 1 one after the other, n side "
    "by side under vmap; equal bits need an equal number. 0 is 1 on CPU and, "
    "but for lenet, on GPU; elsewhere the first number above 1 that the run "
    "had, or all that could run, at most 32.",
    checks.within(0, 1000),
  )
  batch_devices: int = checks.field(
    1,
    "Devices that split each batch between them, for networks that are large; "
    "equal bits need an equal number.",
    checks.at_least(1),
  )
  compilation_cache: str = checks.field(
    "auto",
    "Folder in which JAX keeps compiled programs for later runs; 'auto' is "
    "lth_jax/programs in $XDG_CACHE_HOME or ~/.cache, 'off' keeps none. "
    "JAX_COMPILATION_CACHE_DIR goes before.",
    checks.Range(lambda name: "://" not in name, "a folder of this machine"),
  )
  checkpoint_minutes: float = checks.field(
    5.0,
    "Minutes between saves inside a training run; 0 saves at every pause.",
    checks.Range(lambda minutes: 0 <= minutes < math.inf, "0 or more minutes"),
  )
  log: tuple[str, ...] = checks.field(
    (),
    "Where measurements go besides metrics.jsonl: tensorboard, wandb.",
    checks.Range(
      lambda names: {*names} <= {*LOGGERS} and checks.are_distinct(names),
      f"of {', '.join(LOGGERS)}, each once",
    ),
  )
  progress: Literal["auto", "bar", "log", "none"] = checks.field(
    "auto",
    "A progress bar, lines, or nothing; 'auto' draws a bar on a "
    "terminal and writes lines elsewhere.",
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
  """The processes that work on a run; not stored with it."""

  distributed: Literal["off", "auto"] = checks.field(
    "off",
    "'auto' connects the processes that were started for this run, one a "
    "machine, by jax.distributed.",
  )
  coordinator_address: str | None = checks.field(
    None,
    "host:port at which process 0 can be reached; found automatically on TPUs, "
    "under Slurm's srun and, with the package kubernetes, on Kubernetes.",
  )
  num_processes: int | None = checks.field(
    None, "Number of processes; found automatically in the same places."
  )
  process_id: int | None = checks.field(
    None, "Index of this process, from 0; found automatically there, too."
  )
  join_seconds: int = checks.field(
    300,
    "Seconds that a process waits for the others at the start; JAX aborts it a "
    "minute later.",
  )
