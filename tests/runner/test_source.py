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

mean = 0.1
act = jax.nn.relu
SHAPES = {"a": [1, 2], "b": np.zeros(2000)}

class Power:
  scales = [1, 2]

  def __init__(self, p):
    self.p = p

  @staticmethod
  def of(x):
    return x + 1

POWER = Power(1)

def named(function):
  @functools.wraps(function)
  def call(x):
    return function(x) + 7
  return call

@named
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
  def score(key, trained, initial, k=3):
    found = [ALPHA * act(twice(x)) ** power for x in trained], TABLE, thrice
    return found, Net(), k, SHAPES, POWER, TABLE.mean(), PART(1)
  return score

PART = functools.partial(twice, 2)
KEY = jax.random.key(0)
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
    ("act = jax.nn.relu", "act = jax.nn.gelu"),
    ("k=3", "k=4"),
    ("[1, 2], ", "[1, 3], "),
    ("np.zeros(2000)", "np.eye(2000)[1000]"),
    ("scales = [1, 2]", "scales = [1, 3]"),
    ("return x + 1", "return x + 2"),
    ("Power(1)", "Power(2)"),
    ("function(x) + 7", "function(x) + 8"),
    ("partial(twice, 2)", "partial(twice, 3)"),
    ("nn.Module", "nn.RNNCellBase"),
  ],
)
def test_whatever_a_function_of_a_notebook_names_counts(old, new):
  assert old in NOTEBOOK
  assert digest(NOTEBOOK.replace(old, new)) != digest(NOTEBOOK)


def test_what_a_function_does_not_name_does_not_count():
  other = NOTEBOOK.replace("UNUSED = 1", "UNUSED = 2\n\nZ = 3")
  other = other.replace("mean = 0.1", "mean = 0.2")  # `.mean()` is not it
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


def test_a_clone_may_move(tmp_path):
  texts = [f"def f():\n  return {k}\n" for k in range(2)]

  def found(folders):
    loaded = [
      load(tmp_path / folder / "mine.py", text).f
      for folder, text in zip(folders, texts)
    ]
    return source.of_functions(dict(zip("xy", loaded)))

  assert found("ab") == found("dc")


def test_many_alike_values_are_all_looked_at():
  cell = "ALL = [{{'k': {}}} for _ in range(200)] + [{{'k': {}}}]\n"
  use = "def score(key, trained, initial):\n  return ALL\n"
  digests = {digest(cell.format(0, last) + use) for last in range(20)}
  assert len(digests) == 20
