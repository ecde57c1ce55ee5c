"""JAX's own options that change numbers: set here, or recorded with a run.

The options for random keys and for the precision of matrix products are not
here: `lottery.keys` names the implementation, `--matmul_precision` is a flag.
"""

import os
from typing import Any

import jax

# Other values give other random numbers (and so another split of the images) or
# other types; or they raise where types meet, where data move or at a NaN; or
# they run everything step by step in Python. NaNs are expected here: a value
# that is not measured is one, and a trial may diverge.
_FIXED = {
  "jax_debug_infs": False,
  "jax_debug_nans": False,
  "jax_disable_jit": False,
  "jax_enable_x64": False,
  "jax_numpy_dtype_promotion": "standard",
  "jax_random_seed_offset": 0,
  "jax_threefry_partitionable": True,
  "jax_transfer_guard": None,
}
# These may change last bits; recorded where they differ from JAX 0.10's values.
_FREE = {
  "eager_constant_folding": False,
  "jax_allow_f16_reductions": True,
  "jax_compiler_enable_remat_pass": True,
  "jax_cpu_collectives_implementation": "gloo",
  "jax_disable_most_optimizations": False,
  "jax_enable_pgle": False,
  "jax_exec_time_optimization_effort": 0.0,
  "jax_memory_fitting_effort": 0.0,
  "jax_memory_fitting_level": "O2",
  "jax_optimization_level": "UNKNOWN",
  "jax_softmax_custom_jvp": False,
  "jax_use_direct_linearize": True,
  "jax_use_shardy_partitioner": True,
}
# XLA and its libraries read these: TF32, determinism, threads, instructions.
_VARIABLES = (
  "CUBLAS_WORKSPACE_CONFIG",
  "DNNL_MAX_CPU_ISA",
  "LIBTPU_INIT_ARGS",
  "NPROC",
  "NVIDIA_TF32_OVERRIDE",
  "ONEDNN_MAX_CPU_ISA",
  "TF_CUDNN_DETERMINISTIC",
)


def fix(matmul_precision: str) -> list[str]:
  """Sets the options that would change numbers or end a run.

  `matmul_precision` is "default", or a precision as JAX names it. Returns the
  options that had another value, as name=value.
  """
  changed = _differing(_FIXED)
  precision = None if matmul_precision == "default" else matmul_precision
  wanted = _FIXED | {"jax_default_matmul_precision": precision}
  for name, value in wanted.items():
    if name in jax.config.values:  # else this version of JAX has no choice
      jax.config.update(name, value)
  return changed


def recorded() -> dict[str, str]:
  """Returns the options and variables that may change last bits, if set."""
  flags = os.environ.get("XLA_FLAGS", "")
  if flags and not flags.lstrip().startswith("-"):  # names a file of flags
    with open(flags, encoding="utf-8") as file:
      flags = file.read()
  variables = [f"{x}={os.environ[x]}" for x in _VARIABLES if x in os.environ]
  found = _differing(_FREE) + variables
  return {"xla_flags": flags, "settings": " ".join(found)}


def _differing(options: dict[str, Any]) -> list[str]:
  return [
    f"{name}={jax.config.values[name]}"
    for name, value in options.items()
    if jax.config.values.get(name, value) != value
  ]
