"""What a result was derived from is proved by the result, and by it alone.

Files of a finished or stopped run are harmed, lost or replaced by others; then
the run ends with equal bits, or with results that follow from each other, or
one line refuses; and no report mixes what does not belong together.
"""

import functools
import itertools
import pathlib
import re
import shutil

import jax
import numpy as np
import pytest
from helpers import commands, tiny, workdirs

from lth_jax import masks as masks_lib
from lth_jax.lottery import keys

# So few files that every kind of them can be harmed.
NOISY = (
  *("--rounds=1", "--replicates=1"),
  *("--arms=ticket,noise", "--noise=0.5"),
)
DENSE = "replicate_0/round_000/ticket"
TICKET = "replicate_0/round_001/ticket"


def elsewhere(patch):
  """Stands in for a machine whose sums, and so whose weights, differ."""
  patch.setattr(keys, "order", lambda *_: tiny.key(99))


@pytest.fixture(scope="session")
def other(tmp_path_factory):
  """The same run as `undisturbed`, on another machine."""
  folder = tmp_path_factory.mktemp("other")
  with pytest.MonkeyPatch.context() as patch:
    elsewhere(patch)
    commands.run(folder)
  return folder


def assert_derived(folder, *flags):
  """Masks follow from what is stored of the rounds before, and are reported."""
  replicate, flags = folder / "replicate_0", " ".join(flags)
  dense = workdirs.arrays(replicate / "round_000/ticket")
  for index in (1, 2):
    this = replicate / f"round_{index:03d}"
    above, rate = dense, 0.2
    if "oneshot" in flags:
      rate = 1 - 0.8**index
    elif index == 2:
      arm = "search" if "continued" in flags else "ticket"
      above = workdirs.arrays(replicate / f"round_001/{arm}")
    expected = jax.tree.map(
      functools.partial(_smallest_removed, rate),
      above["masks"],
      above["params"],
      is_leaf=lambda x: x is None,
    )
    random = masks_lib.permute(keys.control("random", 0, 0, index), expected)
    for name in sorted(path.name for path in this.iterdir()):
      masks = random if name == "random" else expected
      found = workdirs.arrays(this / name)["masks"]
      tiny.assert_equal_bits(jax.tree.leaves(found), jax.tree.leaves(masks))
  assert workdirs.read(folder)


def _smallest_removed(rate, mask, leaf):
  if mask is None:
    return None
  removed = round(rate * mask.sum())
  order = np.argsort(np.where(mask, abs(leaf), np.inf), axis=None)
  mask = mask.copy()
  mask.flat[order[:removed]] = False
  return mask


# What is made again makes all that follows from it be made again.


@pytest.mark.parametrize(
  ("name", "flags", "killed"),
  [
    (DENSE, (), False),
    (DENSE, (), True),
    (TICKET, (), False),
    (TICKET, (), True),
    (DENSE, ("--pruning=oneshot",), False),
    (DENSE, ("--reset=continued",), True),
    ("replicate_0/round_001/search", ("--reset=continued",), False),
  ],
)
def test_what_follows_from_a_result_made_again_is_made_again(
  undisturbed, other, tmp_path, monkeypatch, name, flags, killed
):
  folder = tmp_path / "run"
  flags = (*flags, "--devices=1")
  if len(flags) > 1:
    flags = (*flags, "--replicates=1")
    commands.run(folder, *flags)
  else:
    shutil.copytree(undisturbed, folder)
  before = workdirs.results(folder)
  (folder / name / "record.json").write_text("{}")
  elsewhere(monkeypatch)
  mixed = set()
  if killed:

    def stop(change, path):
      if change == "os.rename" and path.endswith(f"{name}/commit.json.tmp"):
        commands.interrupt()

    with workdirs.before_changes(folder, stop):
      assert commands.try_run(folder, *flags).returncode == 75
    # Descriptions of tickets that are gone are still there; their results not.
    mixed = workdirs.read(folder) or set()
  log = commands.run(folder, *flags, "--progress=log")
  assert re.findall(r"^ *(\d+)%", log, re.MULTILINE)[-1] == "100"
  assert_derived(folder, *flags)
  assert mixed <= workdirs.read(folder)
  after = workdirs.results(folder)
  assert after.keys() == before.keys()
  place = f"{name}/record.json"
  assert after[place] != before[place]
  if name == DENSE and len(flags) == 1:
    expected = workdirs.results(other)
    mine = [x for x in after if x.startswith("replicate_0")]
    assert {x: after[x] for x in mine} == {x: expected[x] for x in mine}


# Any file of a run.


def _flipped(path, _):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 4
  path.write_bytes(content)


def _halved(path, _):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _zeroed(path, _):
  path.write_bytes(bytes(path.stat().st_size))


def _removed(path, _):
  path.unlink()


def _replaced(path, old):
  """By what another time, or another machine, made of it."""
  if old.exists():
    path.write_bytes(old.read_bytes())


HARMS = [_flipped, _halved, _zeroed, _removed, _replaced]
# What has the same kinds of files as others have.
_MORE = re.compile("round_002|reinit|replicate_1")
# A quicker test of each: these differ from the others in how much is left.
_SLOW = functools.partial(pytest.param, marks=pytest.mark.slow)


def files_of(folder):
  """Every kind of file below a folder; of arrays, the largest and smallest."""
  found = {}
  for path in folder.rglob("*"):
    name = str(path.relative_to(folder))
    if path.is_file() and path.stat().st_size and not _MORE.search(name):
      found.setdefault(name.partition("/arrays/")[0], []).append(
        (path.stat().st_size, name)
      )
  return [name for each in found.values() for _, name in {min(each), max(each)}]


@pytest.mark.parametrize(
  ("harm", "donor"),
  [
    (_flipped, "undisturbed"),
    (_removed, "undisturbed"),
    (_replaced, "other"),
    _SLOW(_halved, "undisturbed"),
    _SLOW(_zeroed, "undisturbed"),
    _SLOW(_replaced, "undisturbed"),
  ],
)
def test_no_file_of_a_finished_run_leads_to_other_numbers(
  request, noisy, tmp_path, harm, donor
):
  donor = request.getfixturevalue(donor)
  expected, shown = workdirs.results(noisy), workdirs.read(noisy)
  names = files_of(noisy)
  assert len(names) > 20
  for number, name in enumerate(names):
    folder = shutil.copytree(noisy, tmp_path / str(number))
    harm(folder / name, donor / name)
    assert (workdirs.read(folder) or set()) <= shown, name
    result = commands.try_run(folder, *NOISY)
    if result.returncode:
      commands.assert_one_line(result, name.rpartition("/")[0])
    else:
      assert workdirs.results(folder) == expected, name
      assert workdirs.read(folder) == shown, name
    shutil.rmtree(folder)


@pytest.mark.parametrize(
  "name", [DENSE, TICKET, "replicate_0/round_001/random"]
)
def test_a_whole_result_from_elsewhere_is_followed_or_made_again(
  other, copied, name
):
  shutil.rmtree(copied / name)
  shutil.copytree(other / name, copied / name)
  assert workdirs.read(copied) is None
  commands.run(copied)
  assert_derived(copied)


@pytest.fixture(scope="session")
def stopped(tmp_path_factory):
  """A run that was stopped in its dense network, and as it was before."""
  folder, older = map(tmp_path_factory.mktemp, ["stopped", "older"])
  saves = []

  def stop(change, path):
    if change == "os.rename" and path.endswith("/commit.json.tmp"):
      saves.append(path)
      if len(saves) == 3:  # of theta_0, and of two steps
        shutil.copytree(folder, older, dirs_exist_ok=True)
        commands.interrupt()

  with workdirs.before_changes(folder, stop):
    result = commands.try_run(folder, *NOISY, "--checkpoint_minutes=0")
  assert result.returncode == 75
  return folder, older


@pytest.fixture(scope="session")
def noisy(tmp_path_factory):
  folder = tmp_path_factory.mktemp("noisy")
  commands.run(folder, *NOISY)
  return folder


@pytest.mark.parametrize("harm", HARMS)
def test_no_file_of_a_save_leads_to_other_numbers(
  tmp_path, noisy, stopped, harm
):
  saved = stopped[0] / "replicate_0/round_000"
  names = files_of(saved)
  assert names and all(name.startswith("ticket.") for name in names)
  for number, name in enumerate(names):
    folder = shutil.copytree(stopped[0], tmp_path / str(number))
    place = pathlib.Path("replicate_0/round_000", name)
    harm(folder / place, stopped[1] / place)
    commands.run(folder, *NOISY)
    assert workdirs.results(folder) == workdirs.results(noisy), name


# Proofs of identity that are gone.


def other_images(patch):
  train = tiny.dataset().train
  images = train.images.copy()
  images[0, 0, 0] ^= 1
  changed = tiny.dataset()._replace(train=train._replace(images=images))
  patch.setattr(tiny, "dataset", lambda: changed)


def other_key(name):
  """Stands in for a version of JAX with other random numbers."""
  return lambda patch: patch.setattr(keys, name, lambda *_: tiny.key(99))


CHANGES = {
  "data": (other_images, "--seed=0"),
  "run": (lambda _: None, "--seed=1"),
  "noise": (lambda _: None, "--noise=2.0"),
  "theta_0": (other_key("initial"), "--seed=0"),
  "split": (other_key("split"), "--seed=0"),
}
TOP = "config.json", "env.json", "run.flags"
LOST = (), TOP, (*TOP, "replicate_0/rewind")
REFUSED = [
  *itertools.product(["data", "run"], ["finished", "stopped"], LOST),
  *itertools.product(["noise", "split"], ["finished"], LOST),
  ("split", "stopped", ()),
  ("theta_0", "finished", LOST[-1]),
]


@pytest.mark.parametrize(("field", "state", "lost"), REFUSED)
def test_a_run_that_is_not_the_stored_one_is_refused(
  noisy, stopped, tmp_path, monkeypatch, field, state, lost
):
  stored = noisy if state == "finished" else stopped[0]
  folder = shutil.copytree(stored, tmp_path / "run")
  for name in lost:
    shutil.move(folder / name, tmp_path / pathlib.Path(name).name)
  change, flag = CHANGES[field]
  change(monkeypatch)
  before = workdirs.tree(folder)
  result = commands.try_run(folder, *NOISY, "--rounds=2", flag)
  named = {"run": "--seed", "data": "--data_dir"}
  word = field if lost else named.get(field, field)
  commands.assert_one_line(result, word)
  after = workdirs.tree(folder)
  if field not in ("data", "run"):  # found out once it has begun
    before, after = (
      {x: y for x, y in each.items() if x.startswith("replicate_0/round")}
      for each in (before, after)
    )
  assert after == before


def test_what_is_lost_and_can_be_told_again_loses_nothing(noisy, tmp_path):
  folder = shutil.copytree(noisy, tmp_path / "run")
  for name in LOST[-1]:
    shutil.move(folder / name, tmp_path / pathlib.Path(name).name)
  log = commands.run(folder, *NOISY)
  assert workdirs.results(folder) == workdirs.results(noisy)
  assert "env.json is gone" in log and "is complete" in log


def test_a_run_continues_from_the_theta_0_that_it_stored(
  younger, undisturbed, tmp_path, monkeypatch
):
  folder = shutil.copytree(younger, tmp_path / "run")
  other_key("initial")(monkeypatch)
  commands.run(folder)
  assert workdirs.results(folder) == workdirs.results(undisturbed)


# What JAX and XLA are told by others.


@pytest.fixture
def options():
  """Sets JAX's options, and puts them back."""
  before = {}

  def update(name, value):
    before.setdefault(name, jax.config.values[name])
    jax.config.update(name, value)

  yield update
  for name, value in before.items():
    jax.config.update(name, value)


@pytest.mark.parametrize(
  ("name", "value", "logged"),
  [
    ("jax_threefry_partitionable", False, True),
    ("jax_random_seed_offset", 7, True),
    ("jax_enable_x64", True, True),
    ("jax_numpy_dtype_promotion", "strict", True),
    ("jax_debug_nans", True, True),
    ("jax_debug_infs", True, True),
    ("jax_disable_jit", True, True),
    ("jax_transfer_guard", "disallow", True),
    ("jax_default_prng_impl", "rbg", False),
    ("jax_enable_custom_prng", True, False),
    ("jax_default_matmul_precision", "bfloat16", False),
  ],
)
def test_an_option_of_jax_changes_no_number(
  noisy, tmp_path, options, name, value, logged
):
  options(name, value)
  log = commands.run(tmp_path, *NOISY)
  assert workdirs.results(tmp_path) == workdirs.results(noisy)
  assert (f"{name}={value}" in log) == logged


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("jax_disable_most_optimizations", True),
    ("jax_softmax_custom_jvp", True),
    ("NVIDIA_TF32_OVERRIDE", "1"),
    ("LIBTPU_INIT_ARGS", "--xla_tpu_x=1"),
    ("NPROC", "3"),
  ],
)
def test_what_may_change_last_bits_is_recorded_and_logged(
  copied, monkeypatch, options, name, value
):
  if name.islower():
    options(name, value)
  else:
    monkeypatch.setenv(name, value)
  assert f"{name}={value}" in commands.run(copied)
  assert f"{name}={value}" in (copied / "env.json").read_text()


def test_a_file_of_flags_of_xla_is_recorded_by_its_content(
  copied, tmp_path, monkeypatch
):
  path = tmp_path / "flags"
  path.write_text("--xla_cpu_enable_fast_math=true")
  monkeypatch.setenv("XLA_FLAGS", str(path))
  commands.run(copied)
  assert path.read_text() in (copied / "env.json").read_text()
