"""Who may import whom, read from the source."""

import ast
import functools
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# A module may import those above it. Packages are one entry; inside one, any
# module may import its siblings as long as that makes no cycle.
ORDER = (
  "errors",
  "_trees",
  "_packing",
  "masks",
  "scores",
  "_ranking",
  "pruning",
  "rewinding",
  "optim",
  "models",
  "storage",
  "data",
  "training",
  "lottery",
  "analysis",
  "config",
  "parallel",
  "report",
  "runner",
  "experiments",
)
PRIVATE = ("_trees", "_packing", "_ranking")
JAX_ONLY = (*PRIVATE, "masks", "scores", "pruning", "rewinding")
# Other packages use the public functions of the library.
LIBRARY = (*JAX_ONLY, "optim")
# What experiments may import: all effects are behind the last three.
FOR_EXPERIMENTS = (
  *("errors", "masks", "scores", "pruning", "rewinding", "models"),
  *("config", "report", "runner", "experiments"),
)

# Where a third-party package may be imported, by prefix of the module.
ONLY_IN = {
  "flax": ("lth_jax.models",),
  "tensorflow_datasets": ("lth_jax.data.tfds", "lth_jax.data.prepare"),
  "orbax": ("lth_jax.storage",),
  "absl": (
    "lth_jax.config.flags",
    "lth_jax.runner",
    "lth_jax.runner.command",
    "experiments",
  ),
  "matplotlib": ("lth_jax.report",),
}


def read_modules(root):
  """Source by module name, of the package and the experiments."""
  return {
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(
      ".__init__"
    ): path.read_text()
    for folder in ("lth_jax", "experiments")
    for path in sorted((root / folder).rglob("*.py"))
  }


def imported(source):
  """Every name that a module imports anywhere, as written out in full."""
  names = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      start = "." * node.level + (node.module or "")
      names |= {f"{start}.{alias.name}" for alias in node.names}
  return names


def own(name, modules):
  """The module of this project that an imported name means, or None."""
  while name and name not in modules:
    name = name.rpartition(".")[0]
  return name or None


def entry(module):
  """The entry of ORDER to which a module belongs; None for the face."""
  top, _, rest = module.partition(".")
  return top if top == "experiments" else rest.partition(".")[0] or None


def breaches(modules):
  """Every breach of the rules, in words."""
  found = []
  graph = {}
  for module, source in modules.items():
    names = imported(source)
    relative = {name for name in names if name.startswith(".")}
    found += [f"{module}: relative import {name}" for name in relative]
    names -= relative
    graph[module] = {own(name, modules) for name in names} - {None, module}
    found += third_party_breaches(module, names)
    found += order_breaches(module, graph[module])
  return found + [f"cycle: {' -> '.join(cycle)}" for cycle in cycles(graph)]


def third_party_breaches(module, names):
  tops = {name.partition(".")[0] for name in names}
  for package, homes in ONLY_IN.items():
    if package in tops and not module.startswith(homes):
      yield f"{module}: {package} belongs in {homes}"
  if entry(module) == "report" and "jax" in tops:
    yield f"{module}: reports do without jax"
  if entry(module) in (None, *JAX_ONLY):
    for extra in tops - {"jax", "numpy", "lth_jax"} - sys.stdlib_module_names:
      yield f"{module}: {extra} in the jax-only part"


def order_breaches(module, targets):
  here = entry(module)
  if here is None:
    wrong = {t for t in targets if entry(t) not in JAX_ONLY}
    return [f"{module}: the face imports {target}" for target in wrong]
  if here not in ORDER:
    return [f"{module}: not listed in ORDER"]
  above = ORDER[: ORDER.index(here) + 1]
  if here not in ("errors", *JAX_ONLY):
    above = (None, *above)  # the face, for its version
  wrong = {t for t in targets if entry(t) not in above}
  found = [f"{module}: {target} is not above it" for target in wrong]
  if here == "experiments":
    wrong = {t for t in targets if entry(t) not in (None, *FOR_EXPERIMENTS)}
    found += [f"{module}: {target} is not for experiments" for target in wrong]
  if here not in LIBRARY:
    private = {t for t in targets if entry(t) in PRIVATE}
    found += [f"{module}: {target} is private" for target in private]
  return found


def cycles(graph):
  """One cycle for each module that imports itself by way of others."""
  for start in graph:
    paths, seen = [[start]], set()
    while paths:
      path = paths.pop()
      for target in graph[path[-1]] - seen:
        if target == start:
          yield [*path, start]
        seen.add(target)
        paths.append([*path, target])


def test_every_module_imports_only_what_is_above_it():
  assert breaches(read_modules(ROOT)) == []


@pytest.mark.parametrize(
  ("module", "line", "message"),
  [
    ("lth_jax.masks", "from lth_jax import pruning", "pruning is not above"),
    ("lth_jax.masks", "from lth_jax.pruning import prune", "is not above"),
    ("lth_jax.masks", "def f():\n  import lth_jax.optim", "is not above it"),
    ("lth_jax.masks", "from . import _trees", "relative import"),
    ("lth_jax.masks", "import optax", "optax in the jax-only part"),
    ("lth_jax", "from lth_jax import optim", "the face imports"),
    ("lth_jax.novel", "", "not listed"),
    ("lth_jax.optim", "from flax import linen", "flax belongs in"),
    ("lth_jax.data.idx", "import tensorflow_datasets", "belongs in"),
    ("lth_jax.training", "import orbax.checkpoint", "orbax belongs in"),
    ("lth_jax.training", "from absl import flags", "absl belongs in"),
    ("lth_jax.report.page", "import jax.numpy as jnp", "without jax"),
    ("lth_jax.runner", "from experiments import a", "is not above it"),
    ("lth_jax.report.a", "from lth_jax.report import b", "cycle"),
    ("lth_jax.masks", "import lth_jax", "is not above it"),
    ("experiments.a", "from lth_jax import storage", "not for experiments"),
    ("lth_jax.lottery", "from lth_jax import _trees", "is private"),
  ],
)
def test_the_check_catches_a_planted_breach(module, line, message):
  modules = dict.fromkeys(
    ("lth_jax", "lth_jax._trees", "lth_jax.masks", "lth_jax.pruning"), ""
  )
  modules |= {"lth_jax.optim": "import optax", "experiments.a": ""}
  modules |= {"lth_jax.storage": ""}
  modules |= {"lth_jax.report.b": "from lth_jax.report import a"}
  modules |= {"lth_jax.report.a": ""}
  assert breaches(modules) == []
  found = breaches(modules | {module: line})
  assert any(message in breach for breach in found), found


@functools.cache
def loaded_after(statement):
  code = f"{statement}; import sys; print(*sys.modules)"
  result = subprocess.run(
    [sys.executable, "-c", code],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  return set(result.stdout.split())


def test_importing_the_package_loads_jax_and_nothing_else():
  extra = loaded_after("import lth_jax") - loaded_after("import jax")
  listed = {f"lth_jax.{name}" for name in JAX_ONLY}
  assert extra == listed | {"lth_jax"}


def test_the_import_test_would_notice():
  extra = loaded_after("import lth_jax.optim") - loaded_after("import jax")
  assert "optax" in extra


HEAVY = {"flax", "matplotlib", "optax", "orbax", "scipy", "tensorflow"}


@pytest.mark.parametrize(
  "command", ["mnist_lenet", "paper", "report", "results", "sweep"]
)
def test_help_loads_no_heavy_package(command):
  done = subprocess.run(
    [
      sys.executable,
      "-X",
      "importtime",
      "-m",
      f"experiments.{command}",
      "--help",
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert "--flagfile:" in done.stdout
  loaded = {
    line.rpartition("|")[2].strip() for line in done.stderr.splitlines()
  }
  assert {"jax", "lth_jax.runner.command"} <= loaded
  assert not loaded & HEAVY


@pytest.mark.parametrize("name", [".ci/run", "docs/architecture.md"])
def test_files_that_are_named_exist(name):
  text = (ROOT / name).read_text()
  named = re.findall(r"\b\w+(?:/\w+)+\.(?:py|csv|toml|flags)\b", text)
  assert len(named) > 4
  for path in named:
    assert (ROOT / path).exists() or (ROOT / "lth_jax" / path).exists(), path
