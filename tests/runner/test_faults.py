"""What can go wrong around a run: it goes on exactly, or one line says how.

Every fault is done to a real workdir, mostly through the command itself.
"""

import ast
import gzip
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from helpers import commands, synthetic_runs
from hypothesis import given, settings
from hypothesis import strategies as st

from lth_jax import data, errors, report
from lth_jax.data import idx
from lth_jax.parallel import segments
from lth_jax.report import records as report_records
from lth_jax.report import structure
from lth_jax.runner import build, checkpoints
from lth_jax.runner import command as command_lib
from lth_jax.storage import files
from lth_jax.storage import store as store_lib

_FLAGS = (
  "--dataset=mnist_10k",
  "--num_valid=100",
  "--hidden=8",
  "--steps=40",
  "--eval_every=10",
  "--test_every=20",
  "--rates=kernel=0.2",
  "--rounds=1",
  "--replicates=2",
  "--arms=ticket",
  "--progress=none",
)
_TICKET = "replicate_0/round_001/ticket"
_TOP = ("config.json", "env.json")


def run(folder, *flags):
  """Runs the command without its report, which takes most of the time."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(command_lib, "write_report", lambda _: None)
    return commands.call(f"--workdir={folder}", *_FLAGS, *flags)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  folder = tmp_path_factory.mktemp("undisturbed")
  result = run(folder)
  assert result.returncode == 0, result.stderr
  return folder


@pytest.fixture
def copied(undisturbed, tmp_path):
  return shutil.copytree(undisturbed, tmp_path / "run")


def assert_equal(folder, other):
  """The same records, and descriptions, bit for bit."""
  assert commands.records(folder) == commands.records(other)
  for path in pathlib.Path(other).glob("replicate_*/structure.json"):
    found = pathlib.Path(folder) / path.relative_to(other)
    assert json.loads(found.read_text()) == json.loads(path.read_text())


def assert_goes_on(folder, undisturbed, *words):
  result = run(folder)
  assert result.returncode == 0, result.stderr
  for word in words:
    assert word in result.stderr
  assert_equal(folder, undisturbed)


def assert_refused(folder, *words):
  before = commands.records(folder)
  result = run(folder)
  commands.assert_one_line(result, *words)
  assert result.returncode == 2
  assert commands.records(folder) == before


def change_json(path, **changes):
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def write_sealed(path, content):
  path.write_text(json.dumps(files.seal(content)))


def commit_anew(store):
  """Makes the digests of a store those of its files."""
  found = store_lib._digests(epath.Path(store))
  change_json(store / "commit.json", files=found)


# Signals and memory.


def test_a_second_signal_ends_at_once_and_costs_no_save(tmp_path):
  long = ["--rounds=0", "--replicates=1", "--steps=30000", "--eval_every=500"]
  long += ["--test_every=30000", "--checkpoint_minutes=0"]
  folder = tmp_path / "run"
  # A slow disk, so that the second signal comes while the first is obeyed.
  program = (
    "import runpy, time; from lth_jax.runner import checkpoints; "
    "save = checkpoints.save_resume_point; "
    "checkpoints.save_resume_point = lambda *args: (save(*args), time.sleep("
    "600 * (args[2].rows[-1].step > 0))); "
    "runpy.run_module('experiments.mnist_lenet', run_name='__main__')"
  )
  process = subprocess.Popen(
    [sys.executable, "-c", program, f"--workdir={folder}", *_FLAGS, *long],
    cwd=commands.ROOT,
    stderr=subprocess.PIPE,
    text=True,
  )
  trial = folder / "replicate_0/round_000"
  while not [
    path
    for path in trial.glob("ticket.step_*/commit.json")
    if path.parent.name != "ticket.step_0"
  ]:
    assert process.poll() is None
    time.sleep(0.01)
  process.send_signal(signal.SIGTERM)
  assert process.stderr is not None
  for line in process.stderr:
    if line.startswith("SIGTERM: "):
      break
  process.send_signal(signal.SIGTERM)
  _, said = process.communicate(timeout=300)
  assert process.returncode == -signal.SIGTERM, said
  assert not (trial / "ticket").exists()
  assert run(folder, *long).returncode == 0
  timing = json.loads((trial / "ticket/timing.json").read_text())
  assert timing["from_step"] > 0
  assert run(tmp_path / "whole", *long).returncode == 0
  assert_equal(folder, tmp_path / "whole")


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP", "USR1", "USR2", "XCPU"])
def test_a_signal_saves_and_one_of_a_person_then_ends_at_once(capsys, name):
  number = signal.Signals[f"SIG{name}"]
  before = {each: signal.getsignal(each) for each in signal.valid_signals()}
  with command_lib.stop_signals() as stop:
    signal.raise_signal(number)
    assert stop.is_set() and f"SIG{name}: saving" in capsys.readouterr().err
    for each in (signal.SIGINT, signal.SIGTERM):
      assert signal.getsignal(each) == signal.SIG_DFL
    for each in (signal.SIGHUP, signal.SIGUSR1):  # come twice by themselves
      signal.raise_signal(each)
  assert before == {each: signal.getsignal(each) for each in before}


def test_a_run_under_nohup_outlives_its_terminal():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with command_lib.stop_signals() as stop:
      signal.raise_signal(signal.SIGHUP)
      assert not stop.is_set()
  finally:
    signal.signal(signal.SIGHUP, before)


def test_a_scheduler_may_announce_the_end_by_a_user_signal(
  tmp_path, undisturbed, monkeypatch
):
  save = store_lib.save

  def signal_and_save(*args):
    os.kill(os.getpid(), signal.SIGUSR1)
    save(*args)

  with monkeypatch.context() as patch:
    patch.setattr(store_lib, "save", signal_and_save)
    result = run(tmp_path)
  assert result.returncode == 75 and "SIGUSR1: saving" in result.stderr
  assert_goes_on(tmp_path, undisturbed)


def test_ctrl_c_while_jax_is_imported_is_no_traceback():
  process = subprocess.Popen(
    [sys.executable, "-X", "importtime", *commands.command("--help")[1:]],
    cwd=commands.ROOT,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert process.stderr is not None
  for line in process.stderr:  # a module a line
    if "numpy" in line:
      break
  process.send_signal(signal.SIGINT)
  _, said = process.communicate(timeout=60)
  assert process.returncode == -signal.SIGINT
  assert "Traceback" not in said and "KeyboardInterrupt" not in said


@pytest.mark.slow
def test_too_little_memory_is_one_line(tmp_path):
  if sys.platform != "linux" or jax.default_backend() != "cpu":
    pytest.skip("memory is limited by ulimit -v")
  flags = *_FLAGS, "--hidden=30000", "--batch_size=9000"
  limited = ["bash", "-c", 'ulimit -v 6000000; exec "$@"', "bash"]
  result = subprocess.run(
    [*limited, *commands.command(f"--workdir={tmp_path / 'run'}", *flags)],
    cwd=commands.ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  commands.assert_one_line(
    result, "out of memory", "--trials_per_device", "--batch_size"
  )
  assert result.returncode == 2


def test_memory_that_ends_in_a_round_loses_no_round(
  undisturbed, tmp_path, monkeypatch
):
  advance, folder = segments.advance, tmp_path / "run"
  dense = folder / "replicate_0/round_000/ticket/commit.json"

  def exhausted(*args):
    if dense.exists():
      jax.block_until_ready(jnp.zeros(2**47, jnp.uint8))
    return advance(*args)

  with monkeypatch.context() as patch:
    patch.setattr(segments, "advance", exhausted)
    result = run(folder)
  commands.assert_one_line(result, "out of memory", "stored", "--batch_devices")
  assert result.returncode == 2
  before = dense.stat().st_mtime_ns
  assert_goes_on(folder, undisturbed)
  assert dense.stat().st_mtime_ns == before


def test_what_is_no_lack_of_memory_is_not_called_so():
  def fail():
    raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

  with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
    command_lib.call(fail)


def prune_otherwise(patch):
  """Stands in for a processor whose numbers lead to other masks."""

  def prune(scope, fractions, trained, *rest):
    others = jax.tree.map(lambda w: 1 / (w + 1e-9), trained)
    return real(scope, fractions, others, *rest)

  real = build.prune
  patch.setattr(build, "prune", prune)


def test_a_save_of_other_masks_is_not_gone_on_from(tmp_path, monkeypatch):
  folder, flags = tmp_path / "run", ["--checkpoint_minutes=0"]
  save = checkpoints.save_resume_point

  def stop(run, trial, *args):
    save(run, trial, *args)
    if trial.round == 1:
      raise errors.StoppedError

  with monkeypatch.context() as patch:
    patch.setattr(checkpoints, "save_resume_point", stop)
    assert run(folder, *flags).returncode == 75
  (saved,) = folder.glob("replicate_0/round_001/*.step_*")
  prune_otherwise(monkeypatch)
  result = run(folder, *flags)
  assert f"{saved} was made from other weights or masks" in result.stderr
  assert result.returncode == 0, result.stderr
  timing = json.loads((folder / _TICKET / "timing.json").read_text())
  assert timing["from_step"] == 0


def test_a_ticket_of_other_masks_is_made_again(copied, monkeypatch):
  prune_otherwise(monkeypatch)
  result = run(copied, "--rounds=2")
  assert f"{_TICKET} was made from other masks" in result.stderr
  assert result.returncode == 0, result.stderr


def test_a_save_removes_the_one_before(tmp_path, monkeypatch):
  save, found = checkpoints.save_resume_point, []

  def note(run, trial, point, origin):
    save(run, trial, point, origin)
    here = (run.folder / trial.name).parent.iterdir()
    found.append([path.name for path in here])
    assert found[-1] == [f"ticket.step_{point.rows[-1].step}"]
    if len(found) == 3:
      raise errors.StoppedError

  monkeypatch.setattr(checkpoints, "save_resume_point", note)
  monkeypatch.setattr(segments, "SEGMENT_SECONDS", 0.0)
  flags = ["--checkpoint_minutes=0", "--rounds=0", "--replicates=1"]
  assert run(tmp_path, *flags).returncode == 75
  assert run(tmp_path, *flags).returncode == 0
  assert len(found) > 10


# Images.


@pytest.fixture
def images(tmp_path, monkeypatch):
  """A folder of IDX files that pass for MNIST."""
  rng, folder = np.random.default_rng(0), tmp_path / "images"
  folder.mkdir()
  digests = []
  for name, shape in zip(idx.FILES, [(300, 28, 28), (300,), (90, 28, 28), 90]):
    top = 10 if "labels" in name else 256
    array = rng.integers(0, top, shape, dtype=np.uint8)
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    content = head + array.tobytes()
    (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    digests.append(hashlib.sha256(content).hexdigest())
  monkeypatch.setitem(idx.SHA256, "mnist", tuple(digests))
  return folder


def test_images_may_go_while_a_run_works_and_are_asked_for_later(
  images, tmp_path, monkeypatch
):
  own = "--dataset=mnist", "--source=idx", f"--data_dir={images}"
  aside, load = tmp_path / "aside", data.load

  def load_and_remove(*args, **named):
    found = load(*args, **named)
    images.rename(aside)
    return found

  folder = tmp_path / "run"
  with monkeypatch.context() as patch:
    patch.setattr(data, "load", load_and_remove)
    result = run(folder, *own)
  assert result.returncode == 0, result.stderr
  before = commands.records(folder)
  result = run(folder, *own, "--rounds=2")
  commands.assert_one_line(result, str(images), "--data_dir")
  assert result.returncode == 2 and commands.records(folder) == before
  aside.rename(images)
  for each, rounds in ((folder, 2), (tmp_path / "whole", 2)):
    assert run(each, *own, f"--rounds={rounds}").returncode == 0
  assert_equal(folder, tmp_path / "whole")


def test_other_images_of_the_same_name_are_refused(
  images, tmp_path, monkeypatch
):
  own = "--dataset=mnist", "--source=idx", f"--data_dir={images}"
  folder = tmp_path / "run"
  assert run(folder, *own, "--rounds=0").returncode == 0
  path = images / f"{idx.FILES[0]}.gz"
  content = bytearray(gzip.decompress(path.read_bytes()))
  content[-1] ^= 1
  path.write_bytes(gzip.compress(bytes(content)))
  result = run(folder, *own)
  commands.assert_one_line(result, path.name)
  digests = hashlib.sha256(content).hexdigest(), *idx.SHA256["mnist"][1:]
  monkeypatch.setitem(idx.SHA256, "mnist", digests)
  result = run(folder, *own)
  commands.assert_one_line(result, "config.json", "--data_dir")


# Numbers that are none.


@pytest.mark.parametrize("num", [1, 3])
def test_a_trial_that_is_not_finite_leaves_its_neighbours_alone(tmp_path, num):
  flags = ["--arms=ticket,noise", "--devices=1", f"--trials_per_device={num}"]
  assert run(tmp_path / "fine", *flags, "--noise=0.5").returncode == 0
  result = run(tmp_path / "lost", *flags, "--noise=0.5,1e38")
  assert result.returncode == 0, result.stderr
  fine, lost = (
    commands.records(tmp_path / "fine"),
    commands.records(tmp_path / "lost"),
  )
  assert {name: lost[name] for name in fine} == fine
  diverged = {x for x in lost if json.loads(lost[x]).get("diverged")}
  assert diverged == lost.keys() - fine.keys() != set()


# Formats, and what was copied.


@pytest.mark.parametrize("version", [0, 1, 3, "2", None])
def test_another_format_is_named(copied, undisturbed, version):
  change_json(copied / "config.json", format=version)
  assert_refused(copied, "config.json", f"format {version!r}", "version")
  shutil.copy(undisturbed / "config.json", copied)
  commit = copied / _TICKET / "commit.json"
  change_json(commit, format=version)
  assert_refused(copied, str(commit), f"format {version!r}", "version")
  shutil.copy(undisturbed / _TICKET / "commit.json", commit)
  change_json(copied / _TICKET / "record.json", format=version)
  commit_anew(copied / _TICKET)
  result = commands.call(f"--workdir={copied}", *_FLAGS)
  commands.assert_one_line(
    result, "record.json", f"format {version!r}", "version"
  )
  shutil.copy(undisturbed / _TICKET / "record.json", copied / _TICKET)
  shutil.copy(undisturbed / _TICKET / "commit.json", commit)
  change_json(copied / "replicate_0/structure.json", format=version)
  assert_goes_on(copied, undisturbed)


def test_rounds_of_another_run_are_refused_by_the_run_and_its_report(
  copied, tmp_path
):
  other = tmp_path / "other"
  assert run(other, "--seed=1").returncode == 0
  place = copied / "replicate_0/round_001"
  shutil.rmtree(place)
  shutil.copytree(other / "replicate_0/round_001", place)
  assert_refused(copied, _TICKET, "copied here", "remove it")
  with pytest.raises(errors.InputError, match=r"copied here .*remove it"):
    report_records.read(copied)


def test_rounds_of_an_equal_run_are_its_own(copied, undisturbed, tmp_path):
  other = tmp_path / "other"
  assert run(other, "--replicates=1").returncode == 0
  place = copied / "replicate_0/round_001"
  shutil.rmtree(place)
  shutil.copytree(other / "replicate_0/round_001", place)
  assert_goes_on(copied, undisturbed, "is complete")


def test_a_round_of_another_replicate_is_refused(copied):
  for name in ("round_000", "round_001"):
    place = copied / "replicate_1" / name
    shutil.rmtree(place)
    shutil.copytree(copied / "replicate_0" / name, place)
  assert_refused(copied, "replicate_1/round_000", "remove it")
  with pytest.raises(errors.InputError, match="remove"):
    report_records.read(copied)
  shutil.rmtree(copied / "replicate_0")  # now no two records are the same
  with pytest.raises(errors.InputError, match=r"copied here .*remove it"):
    report_records.read(copied)


def test_a_description_of_another_replicate_is_refused(copied, undisturbed):
  parts = [copied / f"replicate_{index}/structure.json" for index in range(2)]
  shutil.copy(*parts)
  with pytest.raises(errors.InputError, match="it is of replicate 0"):
    structure.read(copied)
  assert_goes_on(copied, undisturbed)


def test_a_workdir_may_be_moved(copied, tmp_path):
  result = run(copied, "--rounds=2")
  assert result.returncode == 0, result.stderr
  assert run(tmp_path / "whole", "--rounds=2").returncode == 0
  assert_equal(copied, tmp_path / "whole")


# Damage.


def _harms(content, num_flips, seed=0):
  """The same bytes cut, emptied, and with one bit flipped anywhere."""
  for share in (0, 0.25, 0.5, 0.75):
    yield content[: int(share * len(content))]
  yield content[:-2]
  rng = random.Random(seed)
  places = [0, 1, len(content) - 2]
  places += [rng.randrange(len(content)) for _ in range(num_flips)]
  for place in places:
    harmed = bytearray(content)
    harmed[place] ^= 1 << rng.randrange(8)
    yield bytes(harmed)


@pytest.mark.parametrize("name", _TOP)
def test_every_harm_to_the_top_of_a_workdir_is_named(copied, name):
  content = (copied / name).read_bytes()
  for harmed in _harms(content, num_flips=10):
    (copied / name).write_bytes(harmed)
    if not _holds(harmed, files.unseal(json.loads(content))):
      assert_refused(copied, name)


def _holds(text, content):
  """Whether only the seal is harmed, or blanks are."""
  try:
    return json.loads(text).items() >= content.items()
  except ValueError:
    return False


def test_without_env_json_a_run_goes_on_and_says_so(copied, undisturbed):
  (copied / "env.json").unlink()
  assert_goes_on(copied, undisturbed, "env.json is gone")


def test_a_machine_with_names_unknown_today_is_shown(copied, undisturbed):
  content = json.loads((copied / "env.json").read_text())
  seen = content["environments"][-1] | {"colour": "blue"}
  sealed = files.seal({"environments": [seen]})
  (copied / "env.json").write_text(json.dumps(sealed))
  assert_goes_on(copied, undisturbed, "colour was blue, is not known")


@pytest.mark.parametrize("name", ["run.flags", f"{_TICKET}/timing.json"])
@pytest.mark.parametrize("content", [b"", b"--steps=7", b"\xff"])
def test_what_no_number_depends_on_harms_nothing(
  copied, undisturbed, name, content
):
  (copied / name).write_bytes(content)
  assert_goes_on(copied, undisturbed, "is complete")


def test_every_file_of_a_store_is_watched(copied, undisturbed):
  store = copied / _TICKET
  for place in range(6):  # a store that is made again has other names
    paths = sorted(x for x in store.rglob("*") if x.is_file())
    paths = [x for x in paths if x.name not in ("timing.json", "commit.json")]
    path = paths[place * len(paths) // 6]
    harms = [*_harms(path.read_bytes() or bytes(8), num_flips=1, seed=place)]
    if harms[place] == path.read_bytes():
      path.unlink()
    else:
      path.write_bytes(harms[place])
    assert_goes_on(copied, undisturbed, "discarded and made again")


def test_harm_to_a_commit_is_mended_or_named(copied, undisturbed):
  path = copied / _TICKET / "commit.json"
  for harmed in _harms(path.read_bytes(), num_flips=6):
    path.write_bytes(harmed)
    result = run(copied)
    if result.returncode == 0:
      assert "made again" in result.stderr
      assert_equal(copied, undisturbed)
    else:
      commands.assert_one_line(result, _TICKET)
      assert result.returncode == 2
      shutil.rmtree(path.parent)
      shutil.copytree(undisturbed / _TICKET, path.parent)


@pytest.mark.parametrize(
  "name",
  ["config.json", f"{_TICKET}/record.json", "replicate_0/structure.json"],
)
def test_no_report_shows_numbers_with_a_bit_flipped(copied, name):
  content = (copied / name).read_bytes()
  for harmed in _harms(content, num_flips=60):
    (copied / name).write_bytes(harmed)
    with pytest.raises(errors.InputError, match=pathlib.Path(name).name):
      report_records.read(copied), structure.read(copied)


# Files, folders and links in the way.


@pytest.mark.parametrize(
  "name",
  ["replicate_0", "replicate_0/rewind", "replicate_0/round_001", _TICKET],
)
def test_a_file_in_the_place_of_a_folder_is_named(copied, name):
  shutil.rmtree(copied / name)
  (copied / name).write_text("")
  assert_refused(copied, str(copied / name), "mend that")


@pytest.mark.parametrize(
  "name", [*_TOP, "run.flags.tmp", ".lock", f"{_TICKET}/commit.json"]
)
def test_a_folder_in_the_place_of_a_file_is_named(copied, name):
  (copied / name).unlink(missing_ok=True)
  (copied / name).mkdir()
  assert_refused(copied, name, "Is a directory", "mend that")


@pytest.mark.parametrize(
  "name",
  [
    *("replicate_0", "replicate_0/round_001", _TICKET, "report", ".timing"),
    *("run.flags.tmp", "config.json", ".lock", "report/.index.html.part"),
  ],
)
def test_nothing_is_written_or_removed_through_a_link(copied, tmp_path, name):
  path, outside = copied / name, tmp_path / "outside"
  if path.is_dir():
    shutil.rmtree(path)
  path.unlink(missing_ok=True)
  path.parent.mkdir(exist_ok=True)
  for below in (".", "ticket", "round_001/ticket"):
    (outside / below).mkdir(parents=True, exist_ok=True)
    (outside / below / "commit.json").write_text("{}")
  before = _tree(outside)
  path.symlink_to(outside)
  assert_refused(copied, str(path), "leads out of", "remove it")
  with pytest.raises(errors.InputError, match="leads out of"):
    report.write(copied)
  path.unlink()
  path.symlink_to(outside / "new")  # leads to nothing, yet
  assert_refused(copied, str(path), "leads out of", "remove it")
  assert _tree(outside) == before


def test_links_that_stay_inside_and_to_the_workdir_are_followed(
  copied, undisturbed, tmp_path
):
  (copied / "replicate_0").rename(copied / "moved")
  (copied / "replicate_0").symlink_to("moved")
  (tmp_path / "link").symlink_to(copied)
  assert_goes_on(tmp_path / "link", undisturbed, "is complete")


def _tree(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes() if path.is_file() else ""
    for path in folder.rglob("*")
  }


# What a stranger may have made.

_EVIL = "../../x</td><script>alert(1)</script>$\\frac{$|[a](javascript:b)\n$y$"


def test_a_report_of_a_stranger_stays_inside_and_escapes(copied, tmp_path):
  for replicate in range(2):
    path = copied / f"replicate_{replicate}/structure.json"
    content = files.unseal(json.loads(path.read_text()))
    for leaves in content["rounds"].values():
      for leaf in list(leaves):
        leaves[leaf + _EVIL] = leaves.pop(leaf)
    write_sealed(path, content)
  stored = files.unseal(json.loads((copied / "config.json").read_text()))
  stored["experiment"] = _EVIL
  write_sealed(copied / "config.json", stored)
  record = copied / _TICKET / "record.json"
  change_json(record, warnings=[_EVIL])
  commit_anew(record.parent)
  before = _tree(tmp_path).keys()
  report.write(copied)
  _assert_inert(copied / "report")
  new = {x for x in _tree(tmp_path).keys() - before if x != "run/report"}
  assert {x.rpartition("/")[0] for x in new} == {"run/report"}


def test_a_comparison_of_strangers_stays_inside_and_escapes(tmp_path):
  small = {"rounds": 1, "replicates": 1, "arms": ["ticket"], "steps": 400}
  for name, rule in (("a<script>alert(1)", _EVIL), ("b", "kernel")):
    synthetic_runs.write(tmp_path / name, **small, rates=[f"{rule}=0.2"])
  out = tmp_path / "out"
  before = _tree(tmp_path).keys()
  result = subprocess.run(
    [
      *(sys.executable, "-m", "experiments.report"),
      *(f"--workdir={tmp_path}/*", f"--out={out}"),
    ],
    cwd=commands.ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert result.returncode == 0, result.stderr
  for folder in (out, *tmp_path.glob("*/report")):
    _assert_inert(folder)
  new = {x for x in _tree(tmp_path).keys() - before if "." in x}
  assert {x.split("/")[0 if x.startswith("out") else 1] for x in new} == {
    "out",
    "report",
  }


def _assert_inert(folder):
  found = list(folder.iterdir())
  assert found
  for path in found:
    content = path.read_bytes()
    if path.suffix in (".html", ".svg", ".md"):
      assert b"<script" not in content, path
    if path.suffix == ".md":
      assert b"](javascript" not in content, path


def test_nothing_here_runs_what_a_file_says():
  banned = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
  calls = {"eval", "exec", "compile", "__import__"}
  unsafe = {"load", "load_all", "unsafe_load", "full_load"}
  for folder in ("lth_jax", "experiments"):
    for path in (commands.ROOT / folder).rglob("*.py"):
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
          assert not banned & {each.name for each in node.names}, path
        elif isinstance(node, ast.ImportFrom):
          assert node.module not in banned, path
        elif isinstance(node, ast.Call):
          name = ast.unparse(node.func)
          assert name not in calls, path
          assert name not in {f"yaml.{each}" for each in unsafe}, path
          if name in ("np.load", "numpy.load"):
            assert "allow_pickle=False" in ast.unparse(node), path


@pytest.mark.parametrize(
  "text", ["[" * 100_000, '{"format": 1, "experiment": "\\ud800"}']
)
def test_what_is_nested_deeply_or_is_no_text_is_damage(copied, text):
  for name in ("config.json", "env.json"):
    before = (copied / name).read_bytes()
    (copied / name).write_text(text)
    assert_refused(copied, name)
    (copied / name).write_bytes(before)
  for name in ("replicate_0/structure.json", "config.json"):
    before = (copied / name).read_bytes()
    (copied / name).write_text(text)
    with pytest.raises(errors.InputError, match=f"{name}: damaged"):
      structure.read(copied), report_records.read(copied)
    (copied / name).write_bytes(before)


def test_a_config_that_asks_for_countless_trainings_is_refused(copied):
  stored = files.unseal(json.loads((copied / "config.json").read_text()))
  stored["config"] |= {"replicates": 10_000, "rounds": 1000}
  write_sealed(copied / "config.json", stored)
  with pytest.raises(errors.InputError, match="ask for fewer"):
    report_records.read(copied)


def test_names_of_a_stranger_do_not_reach_the_terminal(copied):
  owner = json.loads((copied / _TICKET / "commit.json").read_text())["owner"]
  change_json(copied / _TICKET / "commit.json", owner="x\n\x1b[2Jerror: y")
  assert_refused(copied, _TICKET, "copied here")
  files_of = json.loads((copied / _TICKET / "commit.json").read_text())["files"]
  change_json(
    copied / _TICKET / "commit.json",
    owner=owner,
    files=files_of | {"\x1b[2J\nerror: y": "0"},
  )
  result = run(copied)
  assert result.returncode == 0 and "\x1b" not in result.stderr
  assert not [x for x in result.stderr.splitlines() if x.startswith("error")]


_ARRAYS = {"params": {"w": np.ones((2, 3), np.float32)}, "masks": {"w": None}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
  folder = tmp_path_factory.mktemp("store") / "ticket"
  store_lib.save(epath.Path(folder), "me", _ARRAYS, {"a": 1}, {})
  return folder


@pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnraisableExceptionWarning",
  "ignore::pytest.PytestUnhandledThreadExceptionWarning",
)
@settings(max_examples=60, derandomize=True)
@given(choice=st.data())
def test_arrays_with_digests_that_fit_are_read_or_refused(store, choice):
  """What Orbax is given by a stranger, who can make digests too."""
  with tempfile.TemporaryDirectory() as name:
    folder = shutil.copytree(store, pathlib.Path(name) / "ticket")
    paths = [x for x in (folder / "arrays").rglob("*") if x.stat().st_size]
    path = choice.draw(st.sampled_from(sorted(x for x in paths if x.is_file())))
    content = bytearray(path.read_bytes())
    content = content[: choice.draw(st.integers(0, len(content)))] or content
    place = choice.draw(st.integers(0, len(content) - 1))
    content[place] = choice.draw(st.integers(0, 255))
    path.write_bytes(content)
    commit_anew(folder)
    try:
      arrays, _ = store_lib.load(epath.Path(folder), "me", _ARRAYS)
    except errors.InputError as error:
      assert "\n" not in str(error)
    else:
      found = arrays["params"]["w"]
      assert (found.shape, found.dtype) == ((2, 3), np.float32)
