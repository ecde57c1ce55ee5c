"""A hostile session: several host devices, no silent broadcasting.

Programs are compiled once a session and shared with the processes that tests
start, since compiling is most of what the tests do.
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

_CACHE = tempfile.mkdtemp(prefix="lth_jax_tests_")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _CACHE)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

jax.config.update("jax_compilation_cache_dir", _CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.devices()  # a command run in this process could choose another number


def pytest_unconfigure():
  shutil.rmtree(_CACHE, ignore_errors=True)
