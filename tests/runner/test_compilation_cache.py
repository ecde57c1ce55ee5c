"""Programs that are kept on disk: found again, and never a failure."""

import os
import pathlib

import jax
import jax.numpy as jnp
import pytest
from helpers import processes

from lth_jax.runner import compilation_cache


@pytest.fixture
def home(tmp_path):
  return tmp_path / "home"


@pytest.fixture
def compile_in(tmp_path):
  """A function that compiles in as many new processes as there are arguments.

  Returns of each a sum, the number of programs found on disk, and the log.
  """

  def call(*arguments):
    codes, logs = processes.call(_compile, tmp_path, arguments)
    for path in tmp_path.glob("log_*"):
      path.unlink()
    assert set(codes) == {0}, logs
    lines = [log.splitlines() for log in logs]
    return [(found[-1], int(found[-2]), found[:-2]) for found in lines]

  return call


def _compile(home, asked="auto", variables=()):
  """In a process of its own: prints the hits and the sum."""
  jax.config.update("jax_compilation_cache_dir", None)  # the session's
  del os.environ["JAX_COMPILATION_CACHE_DIR"]
  os.environ.update({"XDG_CACHE_HOME": str(home), **dict(variables)})
  events = []
  jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
  compilation_cache.use(asked)
  total = jax.jit(lambda x: jnp.sin(x).sum())(jnp.arange(8.0))
  print(events.count("/jax/compilation_cache/cache_hits"))
  print(total)


def test_a_later_process_finds_the_programs_of_several_at_once(
  home, compile_in
):
  first = compile_in(*4 * [(home,)])
  [(total, hits, log)] = compile_in((home,))
  assert {each[0] for each in first} == {total}
  assert hits > 0 and not log


def test_another_environment_has_other_programs(home, compile_in):
  compile_in((home,))
  [(_, hits, log)] = compile_in((home, "auto", (("NPROC", "1"),)))
  assert hits == 0 and not log
  assert len(list((home / "lth_jax" / "programs").iterdir())) == 2


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_damaged_program_is_replaced(share, home, compile_in):
  [(total, *_)] = compile_in((home,))
  damaged = [path for path in home.rglob("*") if path.is_file()]
  for path in damaged:
    os.truncate(path, int(share * path.stat().st_size))
  [(again, hits, log)] = compile_in((home,))
  assert (again, hits) == (total, 0)
  assert all(line.startswith("note: Error reading") for line in log) and log
  [(again, hits, log)] = compile_in((home,))
  assert again == total and hits == len(damaged) and not log


def test_a_folder_that_cannot_be_used_is_one_line_of_the_log(home, compile_in):
  home.write_text("a file")
  [(_, hits, log)] = compile_in((home,))
  [line] = log
  assert hits == 0 and str(home) in line and "--compilation_cache" in line


def test_off_keeps_nothing_and_a_folder_may_be_named(home, compile_in):
  compile_in((home, "off"))
  assert not home.exists()
  compile_in((home, str(home / "named")))
  assert [path.name for path in home.iterdir()] == ["named"]


def test_the_users_own_choice_stays(home):
  before = jax.config.values["jax_compilation_cache_dir"]
  assert before  # this session's
  compilation_cache.use(str(home))
  assert jax.config.values["jax_compilation_cache_dir"] == before
  assert not pathlib.Path(home).exists()
