"""The digest of functions from files and from notebooks."""

import importlib.util
import itertools
import linecache

import pytest

from lth_jax.runner import source

NOTEBOOK = """
import functools
import numpy as np
import flax.linen as nn
import jax

ALPHA = 1.0
TABLE = np.arange(5000.0)
UNUSED = 1

def twice(x):
  return 2 * x

@jax.jit
def thrice(x):
  return 3 * x

class Net(nn.Module):
  width: int = 8

  @nn.compact
  def __call__(self, images, train):
    return nn.Dense(self.width)(images)

def make(power):
  def score(key, trained, initial):
    return [ALPHA * twice(x) ** power for x in trained], TABLE, thrice, Net()
  return score

score = make(1)
"""
_CELLS = itertools.count()


def digest(text, name="score"):
  """Of a function of a cell, as IPython runs it."""
  file = f"<cell {next(_CELLS)}>"
  linecache.cache[file] = len(text), None, text.splitlines(True), file
  cell = {"__name__": "__main__"}
  exec(compile(text, file, "exec"), cell)
  return source.of_functions({name: cell[name]})


def test_equal_cells_have_equal_digests():
  assert digest(NOTEBOOK) == digest(NOTEBOOK)
  assert digest(NOTEBOOK).startswith("score:")


@pytest.mark.parametrize(
  ("old", "new"),
  [
    ("ALPHA = 1.0", "ALPHA = -1.0"),
    ("np.arange(5000.0)", "np.arange(5000.0)[::-1]"),
    ("return 2 * x", "return 4 * x"),
    ("return 3 * x", "return 5 * x"),
    ("nn.Dense(self.width)", "nn.Dense(2 * self.width)"),
    ("width: int = 8", "width: int = 9"),
    ("make(1)", "make(2)"),
    ("** power", "* power"),
  ],
)
def test_whatever_a_function_of_a_notebook_names_counts(old, new):
  assert old in NOTEBOOK
  assert digest(NOTEBOOK.replace(old, new)) != digest(NOTEBOOK)


def test_what_a_function_does_not_name_does_not_count():
  other = NOTEBOOK.replace("UNUSED = 1", "UNUSED = 2\n\nZ = 3")
  assert digest(other) == digest(NOTEBOOK)


def load(path, text):
  path.parent.mkdir(exist_ok=True)
  path.write_text(text)
  spec = importlib.util.spec_from_file_location("mine", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_every_file_counts_and_so_do_values_of_enclosing_functions(tmp_path):
  code = "def f(n):\n  def g():\n    return n\n  return g\n"
  one = load(tmp_path / "a/mine.py", code)
  two = load(tmp_path / "b/mine.py", code)

  def found(n):
    return source.of_functions({"one": one.f(n), "two": two.f})

  before = found(1)
  assert before == found(1) != found(2)
  for folder in "ab":
    path = tmp_path / folder / "mine.py"
    path.write_text(code + "\n")
    assert found(1) != before
    path.write_text(code)
  assert found(1) == before
