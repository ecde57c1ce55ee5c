"""Functions of one's own: the examples as a user runs them, and faults."""

import asyncio
import json
import re

import numpy as np
import optax
import pytest
from helpers import commands, tiny, workdirs

from lth_jax import errors, models, optim, runner, scores
from lth_jax.config import configs
from lth_jax.data import augment
from lth_jax.lottery import controls
from lth_jax.report import records as report_records
from lth_jax.runner import build

EXAMPLES = commands.ROOT / "examples"
SMALL = (
  *("--num_valid=20", "--steps=20", "--eval_every=10", "--rounds=1"),
  *("--replicates=1", "--devices=1", "--batch_size=10", "--progress=none"),
)
MINE = """
import jax, jax.numpy as jnp, optax
from lth_jax import masks, models

def small(image_shape, num_classes, options):
  return models.lenet(image_shape, num_classes, hidden=(4,))

def smallest_first(key, trained, initial):
  return jax.tree.map(lambda x: -jnp.abs(x), trained)

def zeros(key, initial, ticket):
  return ticket._replace(params=jax.tree.map(jnp.zeros_like, ticket.params))

def dense(key, initial, ticket):
  return ticket._replace(params=initial.params)

def double(key, initial, ticket):
  return ticket._replace(params=jax.tree.map(lambda x: x + 1j, ticket.params))

def signs(momentum):
  return optax.scale_by_sign()

def inverted(key, images):
  return 255 - images

def one(key, trained, initial):
  return 1.0

def nan(key, trained, initial):
  return jax.tree.map(lambda x: x * jnp.nan, trained)

def raises(key, trained, initial):
  return {}["nokey"]

def bare(image_shape, num_classes, options):
  import flax.linen as nn
  return nn.Dense(num_classes)

def narrow(image_shape, num_classes, options):
  return models.lenet(image_shape, num_classes - 1, hidden=(4,))

def nothing(key, initial, ticket):
  none = jax.tree.map(jnp.zeros_like, ticket.masks)
  return zeros(key, initial, ticket)._replace(masks=none)

def others(key, initial, ticket):
  full = jax.tree.map(jnp.ones_like, ticket.masks)
  return ticket._replace(masks=full, params=initial.params)

def listed(data_dir):
  return [1, 2]

def lost(data_dir):
  raise FileNotFoundError(data_dir)
"""


def call(folder, *flags):
  return commands.call(f"--workdir={folder}", *SMALL, *flags)


def try_mine(tmp_path, *flags):
  """A run on tiny images with functions of MINE."""
  module = tmp_path / "mine.py"
  if not module.exists():
    module.write_text(MINE)
  module = f"--module={module}"
  return commands.try_run(tmp_path / "run", *SMALL, module, *flags)


def records(folder):
  return [
    json.loads(path.read_text())
    for path in sorted(folder.glob("replicate_*/round_*/*/record.json"))
  ]


def save_arrays(folder):
  """Images whose brightness tells the class."""
  rng = np.random.default_rng(0)
  arrays = {}
  for part, num in (("train", 80), ("test", 30)):
    labels = rng.integers(0, 3, num)
    images = rng.integers(0, 80, (num, 6, 6)) + 80 * labels[:, None, None]
    arrays |= {f"x_{part}": images.astype(np.uint8), f"y_{part}": labels}
  np.savez(folder / "arrays.npz", **arrays)


def test_a_network_on_arrays_is_trained_resumed_and_reported(tmp_path):
  save_arrays(tmp_path)
  flags = (
    *(f"--module={EXAMPLES}/mlp.py", "--model=mlp", "--dataset=arrays"),
    *(f"--data_dir={tmp_path}", "--steps=60", "--arms=ticket,reinit"),
  )
  result = call(tmp_path / "run", *flags)
  assert result.returncode == 0, result.stderr
  found = records(tmp_path / "run")
  assert min(each["end"]["test_accuracy"] for each in found) > 0.6
  # LayerNorm is not pruned, the output layer at half the rate.
  assert found[-1]["density_by_name"].keys() == {
    f"Dense_{i}/kernel" for i in range(3)
  }
  assert found[-1]["density_by_name"]["Dense_2/kernel"] == pytest.approx(
    0.9, 0.01
  )
  page = (tmp_path / "run/report/index.html").read_text()
  assert "ot a network of the paper: mlp" in page
  assert "Published claims" not in page
  assert "complete" in call(tmp_path / "run", *flags).stderr


def test_a_network_of_nnx_is_trained(tmp_path):
  flags = f"--module={EXAMPLES}/nnx.py", "--model=convolutions"
  with commands.tiny_data():
    result = call(tmp_path, *flags, "--arms=ticket,random")
  assert result.returncode == 0, result.stderr
  (ticket,) = (
    x for x in records(tmp_path) if (x["round"], x["arm"]) == (1, "ticket")
  )
  assert ticket["density_by_name"]["output/kernel"] == pytest.approx(0.9, 0.05)


def test_a_score_and_a_control_from_python_and_from_a_file_agree(
  tmp_path, monkeypatch
):
  monkeypatch.syspath_prepend(str(EXAMPLES))
  import criteria

  flags = "--arms=ticket,flipped", "--score=movement", "--hidden=8"
  with commands.tiny_data():
    result = call(tmp_path / "file", f"--module={EXAMPLES}/criteria.py", *flags)
  assert result.returncode == 0, result.stderr
  config = configs.from_flat(
    {
      **{"num_valid": 20, "steps": 20, "eval_every": 10, "rounds": 1},
      **{"replicates": 1, "devices": 1, "batch_size": 10, "progress": "none"},
      **{"hidden": [8], "arms": ["ticket"], "dataset": "mnist"},
    }
  )

  async def cell():  # a notebook runs an event loop
    return runner.run(
      config,
      tmp_path / "python",
      score=criteria.movement,
      controls=[criteria.flipped],
    )

  with commands.tiny_data():
    for _ in range(2):  # a cell that is run again
      page = asyncio.run(cell())
    names = {"score": "movement", "arms": ["ticket", "flipped"]}
    names["module"] = str(EXAMPLES / "criteria.py")
    named = configs.from_flat(configs.to_flat(config) | names)
    runner.run(named, tmp_path / "module")
  assert page.exists()
  for folder in ("python", "module"):
    assert records(tmp_path / folder) == records(tmp_path / "file")


def test_scores_decide_what_is_pruned(tmp_path):
  result = try_mine(tmp_path, "--arms=ticket", "--score=smallest_first")
  assert result.returncode == 0, result.stderr
  folder = tmp_path / "run/replicate_0"
  dense = workdirs.arrays(folder / "round_000/ticket")["params"]
  ticket = workdirs.arrays(folder / "round_001/ticket")["masks"]
  weights = np.abs(dense["Dense_0"]["kernel"])
  kept = ticket["Dense_0"]["kernel"]
  assert weights[kept].max() <= weights[~kept].min()


def test_every_kind_of_function_takes_part(tmp_path):
  def params(*flags):
    result = try_mine(tmp_path, *flags, "--arms=ticket", "--rounds=0")
    assert result.returncode == 0, result.stderr
    (found,) = records(tmp_path / "run")
    for path in sorted((tmp_path / "run").rglob("*"), reverse=True):
      path.rmdir() if path.is_dir() else path.unlink()
    return found["digests"]["params"], len(found["density_by_name"])

  plain = params()
  assert params("--model=small", "--rates=Dense_1=0,Dense_0=0.1")[1] == 2
  for flag in ("--optimizer=signs", "--augment=inverted"):
    assert params(flag) != plain


def test_other_code_is_another_run(tmp_path):
  assert try_mine(tmp_path, "--model=small").returncode == 0
  module = tmp_path / "mine.py"
  module.write_text(MINE + "\n")
  result = try_mine(tmp_path, "--model=small")
  assert result.returncode == 2
  assert re.search(r"other code: mine\.py:\w+ .*restore", result.stderr)
  flagfile = f"--flagfile={tmp_path}/run/run.flags"
  result = commands.call(flagfile, f"--workdir={tmp_path}/run")
  assert result.returncode == 2 and "--module" in result.stderr
  module.rename(tmp_path / "elsewhere.py").rename(module)
  module.write_text(MINE)
  assert try_mine(tmp_path, "--model=small").returncode == 0
  # Code that a run does not use is no part of it.
  with commands.tiny_data():
    for _ in range(2):
      module.write_text(module.read_text() + "\n")
      result = commands.try_run(
        tmp_path / "other", *SMALL, f"--module={module}", "--arms=ticket"
      )
      assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (["--model=smal"], "'smal'; did you mean 'small'"),
    (["--arms=ticket,dense"], "dense.*not zero where"),
    (["--arms=ticket,double"], "double.*complex64.*float32"),
    (["--module=nowhere.py"], "nowhere.py.*cannot be read"),
    (["--module=README.md"], "README.md.*must end in .py"),
    (["--score=one"], "--score=one: masks have a leaf"),
    (["--score=nan"], "--score=nan: .*NaN"),
    (["--score=raises"], r"raises, mine.py, line \d+: KeyError: 'nokey'"),
    (["--model=bare"], "--model=bare: returns Dense; return a .*from_linen"),
    (["--model=narrow"], r"--model=narrow: returns \(2, 2\) for 2 images"),
    (["--arms=ticket,nothing"], "--arms=nothing: its masks keep no weight"),
    (["--dataset=listed"], "data set is a list"),
    (["--dataset=lost"], r"lost, mine.py, line \d+: FileNotFoundError"),
  ],
)
def test_faults_are_named_in_a_line(tmp_path, flags, words):
  result = try_mine(tmp_path, "--hidden=8", *flags)
  assert result.returncode == 2
  (line,) = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
  assert re.search(words, line)


@pytest.mark.parametrize(
  ("code", "line", "words"),
  [
    ("x = 1\ny = 1 / 0\n", 2, "ZeroDivision"),
    ("def f(:\n", 1, "SyntaxError"),
    ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
  ],
)
def test_a_module_that_fails_is_named_with_its_line(
  tmp_path, code, line, words
):
  (tmp_path / "mine.py").write_text(code)
  result = try_mine(tmp_path)
  assert result.returncode == 2
  assert f"mine.py, line {line}: {words}" in result.stderr


def test_names_are_not_known_without_a_module(tmp_path):
  with pytest.raises(errors.InputError, match="--module"):
    configs.from_flat({"model": "mine"})


def test_code_that_cannot_be_found_is_named(tmp_path):
  config = configs.from_flat({"num_valid": 20})
  function = eval("lambda key, trained, initial: trained")
  with pytest.raises(errors.InputError, match=r"no name .* `def`"):
    runner.run(config, tmp_path, score=function, dataset=tiny.dataset())
  function.__name__ = "mine"
  with pytest.raises(errors.InputError, match="code cannot be found"):
    runner.run(config, tmp_path, score=function, dataset=tiny.dataset())


def test_the_names_of_flags_are_those_of_the_tables():
  tables = {
    "model": models.MAKERS,
    "optimizer": optim.MAKERS,
    "augment": augment.FUNCTIONS,
    "score": build.SCORES,
    "arms": {"ticket"} | controls.built_in(None, (), 0).keys(),
  }
  for field, table in tables.items():
    assert set(configs.built_in(field)) == set(table)


def test_a_round_has_the_density_of_its_tickets(tmp_path):
  result = try_mine(tmp_path, "--hidden=8", "--arms=ticket,others")
  assert result.returncode == 0, result.stderr
  run = report_records.read(tmp_path / "run")
  density = {(x.round, x.arm): x.density for x in run.results}
  assert density[1, "others"] == 1 > density[1, "ticket"]
  assert run.grid.density.tolist() == [1, density[1, "ticket"]]


def test_a_function_with_a_built_in_name_is_refused(tmp_path):
  config = configs.from_flat({"num_valid": 20, "dataset": "tiny"})
  given = {"score": scores.magnitude, "optimizer": optax.adam}
  module = tmp_path / "built_in.py"
  module.write_text("def magnitude(key, trained, initial): return trained\n")
  with commands.tiny_data():
    result = call(tmp_path / "run", f"--module={module}")
  assert "--score=magnitude: is built in" in result.stderr
  module.write_text("from lth_jax.scores import magnitude\n" + MINE)
  with commands.tiny_data():
    result = call(tmp_path / "run", f"--module={module}", "--model=small")
  assert result.returncode == 0, result.stderr
  for name, value in given.items():
    with pytest.raises(errors.InputError, match=r"is built in.*rename"):
      runner.run(config, tmp_path, **{name: value}, dataset=tiny.dataset())


def test_a_data_set_that_is_not_there_may_be_a_slip(tmp_path):
  (tmp_path / "mine.py").write_text(MINE)
  result = call(
    tmp_path / "run", f"--module={tmp_path}/mine.py", "--dataset=lots"
  )
  commands.assert_one_line(result, "'lots'", "Functions of --module", "lost")


def test_a_notebook_shows_an_error_as_one_line():
  for error in (
    errors.InputError("wrong"),
    errors.StorageError("full"),
    errors.StoppedError(),
  ):
    (line,) = error._render_traceback_()
    assert line.startswith(type(error).__name__) and str(error) in line
    assert str(error)
