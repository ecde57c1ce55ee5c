"""A hostile session: several host devices, no silent broadcasting.

Programs are compiled once and shared by the workers of pytest-xdist and the
processes that tests start, since compiling is most of what the tests do. With
JAX_COMPILATION_CACHE_DIR set, later sessions share them too.
"""

import os
import shutil
import tempfile

import hypothesis
import jax

# No test may fail since the machine is busy.
hypothesis.settings.register_profile(
  "lth_jax",
  deadline=None,
  suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("lth_jax")

# Workers of pytest-xdist inherit the environment of the process that starts
# them; that one makes the folder, and removes it.
_FOLDER = "JAX_COMPILATION_CACHE_DIR"
_MADE = None
if _FOLDER not in os.environ:
  _MADE = os.environ[_FOLDER] = tempfile.mkdtemp(prefix="lth_jax_tests_")
for _name, _value in {
  "jax_compilation_cache_dir": os.environ[_FOLDER],
  "jax_persistent_cache_min_compile_time_secs": 0.05,
  "jax_persistent_cache_min_entry_size_bytes": -1,
}.items():
  os.environ[_name.upper()] = str(_value)
  jax.config.update(_name, _value)

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.devices()  # a command run in this process could choose another number


def pytest_unconfigure():
  if _MADE:
    shutil.rmtree(_MADE, ignore_errors=True)
