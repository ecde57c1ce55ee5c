"""What a result was derived from is proved by the result, and by it alone.

Files of a finished or stopped run are harmed, lost or replaced by others; then
the run ends with equal bits, or with results that follow from each other, or
one line refuses; and no report mixes what does not belong together.
"""

import itertools
import pathlib
import re
import shutil

import jax
import pytest
from etils import epath
from helpers import runs, tiny

from lth_jax import data, errors
from lth_jax.config import configs, plan
from lth_jax.lottery import controls, keys
from lth_jax.parallel import segments
from lth_jax.report import records as report_records
from lth_jax.report import structure
from lth_jax.runner import build, settings, trials
from lth_jax.runner import checkpoints as checkpoints_lib
from lth_jax.storage import store as store_lib

SMALL = {"replicates": 1, "steps": 20}
NOISY = SMALL | {"arms": ["ticket", "noise"], "noise": [0.5], "rounds": 1}
DENSE = "replicate_0/round_000/ticket"
TICKET = "replicate_0/round_001/ticket"


@pytest.fixture(autouse=True)
def tiny_data(monkeypatch):
  monkeypatch.setattr(data, "load", lambda *_, **__: tiny.dataset())


def elsewhere(patch):
  """Stands in for a machine whose sums, and so whose weights, differ."""
  patch.setattr(build, "order_key", lambda *_: tiny.key(99))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A run; the same as it was before it grew; the same, run elsewhere."""
  here, before, other = map(tmp_path_factory.mktemp, ["here", "old", "other"])
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(data, "load", lambda *_, **__: tiny.dataset())
    runs.run(before, **SMALL, rounds=1)
    shutil.copytree(before, here, dirs_exist_ok=True)
    runs.run(here, **SMALL)
    elsewhere(patch)
    runs.run(other, **SMALL)
  return here, before, other


@pytest.fixture
def copied(finished, tmp_path):
  return shutil.copytree(finished[0], tmp_path / "run")


def told(folder):
  """What a report is made of; None where it is refused."""
  try:
    shown = *report_records.read(folder).trials, *structure.read(folder)
    return set(map(repr, shown))
  except errors.InputError as error:
    assert "\n" not in str(error)
    return None


def arrays(folder, trial, parts):
  digest = store_lib.read_json(epath.Path(folder) / "config.json")["data"]
  stores = checkpoints_lib.Checkpoints(
    epath.Path(folder), parts.run_id, digest, print
  )
  return checkpoints_lib.load_arrays(stores, trial.name, parts.like)


def assert_derived(folder, **flags):
  """Masks follow from what is stored of the rounds before, and is reported."""
  config = configs.from_flat(runs.FLAGS | SMALL | flags)
  parts = build.make(config, tiny.dataset())
  saved = build.initial_start(parts, 0)
  for index in range(1, config.study.rounds + 1):
    ticket = plan.Trial(0, index, "ticket")
    above = arrays(folder, plan.parent(config, ticket), parts)
    if config.pruning.pruning == "oneshot":
      masks = parts.prune(above["params"], saved.masks, index)
    else:
      masks = parts.prune(above["params"], above["masks"])
    start = saved._replace(masks=masks)
    key = keys.random_masks(0, 0, index)
    random = controls.random_masks(key, saved, start).masks
    for trial in plan.of_round(config, 0, index):
      expected = random if trial.arm == "random" else masks
      tiny.assert_equal_bits(arrays(folder, trial, parts)["masks"], expected)
  assert told(folder)


# What is made again makes all that follows from it be made again.


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize(
  ("name", "flags"),
  [
    (DENSE, {}),
    (TICKET, {}),
    (DENSE, {"pruning": "oneshot"}),
    (DENSE, {"reset": "continued"}),
    ("replicate_0/round_001/search", {"reset": "continued"}),
  ],
)
def test_what_follows_from_a_result_made_anew_is_made_anew(
  finished, tmp_path, monkeypatch, name, flags, killed
):
  folder = tmp_path / "run"
  if flags:
    runs.run(folder, **SMALL, **flags)
  else:
    shutil.copytree(finished[0], folder)
  before = runs.contents(folder)
  (folder / name / "record.json").write_text("{}")
  elsewhere(monkeypatch)
  if killed:
    save = trials.save_result

    def save_and_stop(*arguments):
      save(*arguments)
      raise errors.StoppedError

    with monkeypatch.context() as patch:
      patch.setattr(trials, "save_result", save_and_stop)
      with pytest.raises(errors.StoppedError):
        runs.run(folder, **SMALL, **flags)
    assert told(folder) is None
  runs.run(folder, **SMALL, **flags)
  assert_derived(folder, **flags)
  after = runs.contents(folder)
  assert after.keys() == before.keys() and after[name] != before[name]
  if name == DENSE and not flags:
    assert after == runs.contents(finished[2])


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


# Of a finished run, what has the same kinds of files as others have.
MORE = "round_002|reinit"
HARMS = [_flipped, _halved, _zeroed, _removed, _replaced]


def files_of(folder):
  """Every kind of file below a folder; of arrays, the largest and smallest."""
  found = {}
  for path in folder.rglob("*"):
    name = str(path.relative_to(folder))
    if path.is_file() and path.stat().st_size:
      found.setdefault(name.partition("/arrays/")[0], []).append(
        (path.stat().st_size, name)
      )
  return [name for each in found.values() for _, name in {min(each), max(each)}]


@pytest.mark.parametrize(
  ("harm", "which"), [*((harm, 1) for harm in HARMS), (_replaced, 2)]
)
def test_no_file_of_a_finished_run_leads_to_other_numbers(
  finished, tmp_path, monkeypatch, harm, which
):
  undisturbed, old = finished[0], finished[which]
  expected, shown = runs.contents(undisturbed), told(undisturbed)
  names = [x for x in files_of(undisturbed) if not re.search(MORE, x)]
  assert len(names) > 20
  for number, name in enumerate(names):
    folder = shutil.copytree(undisturbed, tmp_path / str(number))
    harm(folder / name, old / name)
    assert (told(folder) or set()) <= shown, name
    try:
      runs.run(folder, **SMALL)
    except errors.InputError as error:
      assert name.rpartition("/")[0] in str(error), name
    else:
      assert runs.contents(folder) == expected, name
      assert told(folder) == shown, name
    shutil.rmtree(folder)


@pytest.mark.parametrize(
  "name", [DENSE, TICKET, "replicate_0/round_001/random"]
)
def test_a_whole_result_from_elsewhere_is_followed_or_made_again(
  finished, copied, name
):
  shutil.rmtree(copied / name)
  shutil.copytree(finished[2] / name, copied / name)
  assert told(copied) is None
  runs.run(copied, **SMALL)
  assert_derived(copied)


# No file of an older save can take the place of one: their folders have names
# of their own.
@pytest.mark.parametrize("harm", HARMS[:-1])
def test_no_file_of_a_save_leads_to_other_numbers(tmp_path, monkeypatch, harm):
  monkeypatch.setattr(segments, "SEGMENT_SECONDS", 0.0)
  flags = SMALL | {"arms": ["ticket"], "rounds": 0}
  runs.run(tmp_path / "whole", **flags)
  save = checkpoints_lib.save_resume_point

  def save_and_stop(stores, trial, point, origin):
    save(stores, trial, point, origin)
    if point.rows[-1].step == 10:
      raise errors.StoppedError

  with monkeypatch.context() as patch:
    patch.setattr(checkpoints_lib, "save_resume_point", save_and_stop)
    with pytest.raises(errors.StoppedError):
      runs.run(tmp_path / "stopped", **flags, checkpoint_minutes=0)
  saved = tmp_path / "stopped" / "replicate_0/round_000"
  names = files_of(saved)
  assert {name.partition("/")[0] for name in names} == {"ticket.step_10"}
  for number, name in enumerate(names):
    folder = shutil.copytree(tmp_path / "stopped", tmp_path / str(number))
    place = pathlib.Path("replicate_0/round_000", name)
    harm(folder / place, None)
    runs.run(folder, **flags)
    assert runs.contents(folder) == runs.contents(tmp_path / "whole"), name


# Proofs of identity that are gone.


def other_images(patch):
  train = tiny.dataset().train
  images = train.images.copy()
  images[0, 0, 0] ^= 1
  changed = tiny.dataset()._replace(train=train._replace(images=images))
  patch.setattr(data, "load", lambda *_, **__: changed)


def other_theta_0(patch):
  initial_start = build.initial_start

  def larger(parts, replicate):
    start = initial_start(parts, replicate)
    return start._replace(params=jax.tree.map(lambda x: 2 * x, start.params))

  patch.setattr(build, "initial_start", larger)


def other_split(patch):
  split = build.split
  patch.setattr(build, "split", lambda *args: split(*args[:2], 7))


CHANGES = {
  "data": (other_images, {}),
  "run": (lambda _: None, {"seed": 1}),
  "noise": (lambda _: None, {"noise": [2.0]}),
  "theta_0": (other_theta_0, {}),
  "split": (other_split, {}),
}
TOP = "config.json", "env.json", "run.flags"
LOST = (), TOP, (*TOP, "replicate_0/rewind")
REFUSED = [
  *itertools.product(["data", "run"], ["finished", "stopped"], LOST),
  *itertools.product(["noise", "split"], ["finished"], LOST),
  ("split", "stopped", ()),
  ("theta_0", "finished", LOST[-1]),
]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
  """A finished run, and one that was stopped in its dense network."""
  here, stopped = map(tmp_path_factory.mktemp, ["noisy", "stopped"])
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(data, "load", lambda *_, **__: tiny.dataset())
    patch.setattr(segments, "SEGMENT_SECONDS", 0.0)
    runs.run(here, **NOISY)
    with pytest.raises(errors.StoppedError):
      runs.run(stopped, runs.StopAfter(1), **NOISY)
  return here, stopped


@pytest.mark.parametrize(("field", "state", "lost"), REFUSED)
def test_a_run_that_is_not_the_stored_one_is_refused(
  noisy, tmp_path, monkeypatch, field, state, lost
):
  folder = shutil.copytree(noisy[state == "stopped"], tmp_path / "run")
  for name in lost:
    shutil.move(folder / name, tmp_path / pathlib.Path(name).name)
  change, flags = CHANGES[field]
  change(monkeypatch)
  before = tree(folder)
  with pytest.raises(errors.InputError) as found:
    runs.run(folder, **NOISY | {"rounds": 2} | flags)
  said, lost_too = str(found.value), {"run": "--seed", "data": "--data_dir"}
  assert (field if lost else lost_too.get(field, field)) in said
  assert "\n" not in said
  if field not in ("data", "run"):  # found out once it has begun
    shutil.copytree(folder / "replicate_0", tmp_path / "kept/replicate_0")
    folder = tmp_path / "kept"
    before = {x: y for x, y in before.items() if x.startswith("replicate_0")}
  assert tree(folder) == before


def test_what_is_lost_and_can_be_told_again_loses_nothing(
  noisy, tmp_path, capsys
):
  folder = shutil.copytree(noisy[0], tmp_path / "run")
  for name in LOST[-1]:
    shutil.move(folder / name, tmp_path / pathlib.Path(name).name)
  runs.run(folder, **NOISY)
  assert runs.contents(folder) == runs.contents(noisy[0])
  said = capsys.readouterr().err
  assert "env.json is gone" in said and "is complete" in said


def tree(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.rglob("*")
    if path.is_file() and path.name != ".lock"
  }


def test_a_run_goes_on_from_the_theta_0_that_it_stored(
  finished, tmp_path, monkeypatch
):
  folder = shutil.copytree(finished[1], tmp_path / "run")
  other_theta_0(monkeypatch)
  runs.run(folder, **SMALL)
  assert runs.contents(folder) == runs.contents(finished[0])


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
  ("name", "value", "said"),
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
  finished, tmp_path, capsys, options, name, value, said
):
  options(name, value)
  runs.run(tmp_path, **SMALL)
  assert runs.contents(tmp_path) == runs.contents(finished[0])
  assert (f"{name}={value}" in capsys.readouterr().err) == said


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
def test_what_may_change_last_bits_is_recorded_and_said(
  copied, capsys, monkeypatch, options, name, value
):
  if name.islower():
    options(name, value)
  else:
    monkeypatch.setenv(name, value)
  runs.run(copied, **SMALL)
  assert f"{name}={value}" in capsys.readouterr().err
  assert f"{name}={value}" in (copied / "env.json").read_text()


def test_a_file_of_flags_of_xla_is_recorded_by_its_content(
  tmp_path, monkeypatch
):
  path = tmp_path / "flags"
  path.write_text("--xla_cpu_enable_fast_math=true")
  monkeypatch.setenv("XLA_FLAGS", str(path))
  assert settings.recorded()["xla_flags"] == path.read_text()
