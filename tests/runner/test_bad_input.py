"""Bad input: one line that says what to do, a code that is not 0, no traceback.

Also a full disk and one that cannot be written, on file systems of a few MB
that the test mounts, since root ignores file modes.
"""

import contextlib
import functools
import gzip
import importlib
import json
import os
import pathlib
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time

import pytest
from etils import epath
from helpers import commands

from experiments import mnist_lenet, paper, results, sweep
from experiments import report as report_command
from lth_jax import errors, report
from lth_jax.config import configs, flags
from lth_jax.parallel import devices, segments
from lth_jax.report import records as report_records
from lth_jax.runner import command as command_lib
from lth_jax.runner import workdir
from lth_jax.storage import files

_ROOT = pathlib.Path(__file__).parents[2]
_TINY = (
  "--dataset=mnist_10k",
  "--num_valid=100",
  "--hidden=8",
  "--steps=20",
  "--eval_every=10",
  "--test_every=20",
  "--rates=kernel=0.2",
  "--rounds=1",
  "--replicates=1",
  "--arms=ticket",
  "--progress=none",
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
  folder = tmp_path_factory.mktemp("undisturbed")
  result = commands.call(f"--workdir={folder}", *_TINY)
  assert result.returncode == 0, result.stderr
  return folder


@pytest.mark.parametrize("name", ["runs/a", "a b", "~/c"])
def test_a_workdir_may_be_relative(tmp_path, monkeypatch, undisturbed, name):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("HOME", str(tmp_path))
  result = commands.call(f"--workdir={name}", *_TINY)
  assert result.returncode == 0, result.stderr
  folder = tmp_path / name.removeprefix("~/")
  assert commands.records(folder) == commands.records(undisturbed)


def test_a_workdir_on_an_object_store_stays_as_it_is():
  assert str(flags.folder("gs://bucket/run")) == "gs://bucket/run"


@pytest.mark.parametrize(
  ("name", "words"),
  [
    ("gs:/bucket/run", ["'gs:/bucket/run'", "gs://BUCKET/FOLDER"]),
    ("gs://", ["gs://BUCKET/FOLDER"]),
    ("gs:///run", ["gs://BUCKET/FOLDER"]),
    ("GS://bucket/run", ["gs://BUCKET/FOLDER"]),
    ("s3://bucket/run", ["gs://BUCKET/FOLDER"]),
    ("gs://bucket/a/../b", ["without '..'"]),
    ("gs://bucket/run*", ["'*'", "pattern", "another name"]),
    ("runs/a?", ["'?'", "pattern"]),
    ("runs/a[1]", ["'['", "pattern"]),
  ],
)
def test_a_workdir_that_is_no_folder_is_refused_before_anything_is_done(
  tmp_path, monkeypatch, name, words
):
  monkeypatch.chdir(tmp_path)
  result = commands.call(f"--workdir={name}")
  commands.assert_one_line(result, *words)
  assert result.returncode == 2
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("flag", "words"),
  [
    ("--arms=ticket,reinitt", ["'reinitt'", "did you mean 'reinit'"]),
    ("--rates=kernel=1.0", ["--rates", "[0, 1)"]),
    ("--rates=kernel=-0.1", ["--rates", "[0, 1)"]),
    ("--rates=kernal=0.2", ["--rates", "Dense_0/kernel"]),
    ("--rates=kernel=0.9999", ["round 1", "Dense_1/kernel", "--rates"]),
    ("--batch_size=9901", ["9,901", "9,900"]),
    ("--num_valid=10000", ["--num_valid", "10,000"]),
    ("--replicates=0", ["--replicates=0", "in [1, 10000]"]),
    ("--steps=2147483648", ["--steps", "2**31"]),
    ("--first_replicate=5000000000", ["--first_replicate", "2**31"]),
    ("--control_rounds=2", ["--control_rounds=2", "--rounds=1"]),
    ("--control_rounds=1,1", ["--control_rounds=1,1", "each once"]),
    ("word", ["'word' is no flag"]),
    ("--hidden=30,x", ["--hidden", "whole numbers"]),
    ("--devices=1000 --replicates=1000", ["--devices=1000"]),
    ("--data_dir=/nowhere --source=idx", ["mnist_10k", "idx"]),
    ("--dataset=mnst", ["mnst", "prepare", "--data_dir", "mnist_10k"]),
    ("--dataset=mnist", ["prepare mnist", "--data_dir", "mnist_10k"]),
  ],
)
def test_a_wrong_value_is_named(tmp_path, monkeypatch, flag, words):
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
  folder = tmp_path / "run"
  result = commands.call(f"--workdir={folder}", *_TINY, *flag.split())
  commands.assert_one_line(result, *words)
  assert result.returncode == 2
  assert not folder.exists()  # nothing is left behind by what never began


@pytest.mark.parametrize(
  ("flag", "word"),
  [
    ("--learnin_rate=1", "learning_rate"),
    ("--optimizer=adamm", "adam"),
    ("--steps=many", "steps"),
  ],
)
def test_what_is_no_flag_or_no_choice_is_refused(flag, word):
  commands.assert_one_line(
    commands.call("--workdir=x", *_TINY, flag), word, "--help"
  )


def test_the_process_ends_with_one_line_and_a_code(tmp_path):
  result = commands.start(f"--workdir={tmp_path}", *_TINY, "--replicates=0")
  commands.assert_one_line(result, "--replicates=0")
  assert result.returncode == 2


def test_help_lists_the_flags_of_the_config():
  result = commands.start("--help")
  assert result.returncode == 0 and "quickstart.flags" in result.stdout
  for name in configs.fields(configs.Config()):
    assert f"--{name}:" in result.stdout or f"--[no]{name}:" in result.stdout


def test_commands_of_one_process_have_flags_of_their_own(monkeypatch):
  mains = [
    importlib.import_module(f"experiments.{path.stem}")
    for path in _ROOT.glob("experiments/*.py")
    if '__name__ == "__main__"' in path.read_text()
  ]
  assert {mnist_lenet, paper, report_command, results, sweep} < {*mains}
  for module in mains:
    result = commands.call("--no_such_flag=1", main=module.main)
    commands.assert_one_line(result, "no_such_flag", "--help")
    assert result.returncode == 2
  for module in (mnist_lenet, report_command, sweep):  # forget the last one's
    commands.assert_one_line(commands.call(main=module.main), "such as")
  for module in mains * 2:  # as %run does
    monkeypatch.setattr(sys, "argv", ["command", "--help"])
    with pytest.raises(SystemExit) as ended:
      runpy.run_path(module.__file__, run_name="__main__")
    assert not ended.value.code


_NO_TEXTS = {
  "utf-16": "--rounds=1\n".encode("utf-16"),
  "utf-16 without mark": "--rounds=1\n".encode("utf-16-le"),
  "utf-8 with mark": "--rounds=1\n".encode("utf-8-sig"),
  "latin-1": "--data_dir=/bücher\n".encode("latin-1"),
  "nul": b"--data_dir=/x\0y\n",
  "binary": bytes(range(256)),
  "gzip": gzip.compress(b"--rounds=1\n"),
}


@pytest.mark.parametrize("content", _NO_TEXTS.values(), ids=_NO_TEXTS)
@pytest.mark.parametrize("nested", [False, True])
def test_a_flagfile_that_is_no_text_is_one_line(tmp_path, content, nested):
  path = tmp_path / "run.flags"
  path.write_bytes(content)
  if nested:
    path = tmp_path / "outer.flags"
    path.write_text(f"--flagfile={tmp_path / 'run.flags'}\n")
  result = commands.call(
    f"--workdir={tmp_path / 'run'}", *_TINY, f"--flagfile={path}"
  )
  commands.assert_one_line(result, "UTF-8")
  assert result.returncode == 2 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
  "text", ["x\udcff", "x\n--seed=7", "x\0y", "x\r", "\x9b"]
)
@pytest.mark.parametrize("name", ["workdir", "data_dir", "rates", "arms"])
def test_a_value_that_is_no_line_of_text_is_refused(
  tmp_path, monkeypatch, name, text
):
  monkeypatch.chdir(tmp_path)
  result = commands.call("--workdir=run", *_TINY, f"--{name}={text}")
  commands.assert_one_line(result, f"--{name}=", "UTF-8")
  assert result.returncode == 2 and not list(tmp_path.iterdir())


def test_the_current_folder_must_be_text_too(tmp_path, monkeypatch):
  folder = tmp_path / "x\udcff"
  folder.mkdir()
  monkeypatch.chdir(folder)
  commands.assert_one_line(commands.call("--workdir=run", *_TINY), "UTF-8")
  assert not list(folder.iterdir())


@pytest.mark.parametrize("name", ["~/run", "~nobody-here/run"])
@pytest.mark.parametrize("main", [mnist_lenet.main, sweep.main])
def test_without_a_home_folder_nothing_is_put_elsewhere(
  tmp_path, monkeypatch, name, main
):
  def unknown(_):
    raise KeyError

  monkeypatch.chdir(tmp_path)
  monkeypatch.delenv("HOME")
  monkeypatch.setattr("pwd.getpwuid", unknown)
  monkeypatch.setenv("TFDS_DATA_DIR", "~/tfds")
  flags = _TINY if main == mnist_lenet.main else ("--vary=seed=0,1",)
  result = commands.call(f"--workdir={name}", *flags, main=main)
  commands.assert_one_line(result, name, "home folder", "whole path")
  result = commands.call("--workdir=run", *_TINY, "--dataset=mnist")
  commands.assert_one_line(result, "prepare mnist")
  assert not list(tmp_path.iterdir())


def test_a_sweep_may_be_written_to_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  result = commands.call(
    *("--workdir=runs", "--vary=seed=0,1", "--out=~/sweep.sh"), main=sweep.main
  )
  assert result.returncode == 0, result.stderr
  assert "--seed=1" in (tmp_path / "sweep.sh").read_text()


def test_a_missing_workdir_is_asked_for():
  commands.assert_one_line(commands.call(*_TINY), "--workdir")


def test_a_report_of_nothing_is_refused(tmp_path):
  with pytest.raises(errors.InputError, match=r"config\.json"):
    report.write(tmp_path)


def test_a_cut_data_file_is_named(tmp_path):
  names = ("train-images-idx3", "train-labels-idx1")
  names += ("t10k-images-idx3", "t10k-labels-idx1")
  for name in names:
    (tmp_path / f"{name}-ubyte.gz").write_bytes(b"\x1f\x8b\x08 cut short")
  result = commands.call(
    f"--workdir={tmp_path / 'run'}",
    *_TINY,
    "--dataset=mnist",
    f"--data_dir={tmp_path}",
  )
  commands.assert_one_line(result, "-ubyte.gz")


def test_a_file_as_workdir_is_refused(tmp_path):
  path = tmp_path / "file"
  path.write_text("")
  commands.assert_one_line(
    commands.call(f"--workdir={path}", *_TINY), str(path)
  )


@pytest.mark.parametrize(
  "name",
  ["lost+found", ".DS_Store", ".gitkeep", ".nfs000000000", "desktop.ini"],
)
def test_what_a_new_folder_may_hold_is_no_hindrance(tmp_path, name):
  (tmp_path / name).touch()
  config, layout = configs.Config(), devices.Layout(1)
  workdir.settle(epath.Path(tmp_path), config, "a", {}, layout, log=print)
  assert (tmp_path / "config.json").exists()


def test_a_persons_copies_are_no_part_of_a_run(undisturbed, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(undisturbed, folder)
  there = report_records.read(folder)
  replicate = folder / "replicate_0"
  shutil.copytree(replicate, folder / "replicate_0 copy")
  shutil.copytree(replicate / "round_001", replicate / "round_001.bak")
  (folder / "replicate_0 copy/round_000/ticket/record.json").write_text("cut")
  assert len(report_records.read(folder).trials) == len(there.trials)
  report.write(folder)
  result = commands.call(f"--workdir={folder}", *_TINY)
  assert result.returncode == 0, result.stderr


def test_a_copy_under_another_number_is_to_be_removed(undisturbed, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(undisturbed, folder)
  shutil.copytree(folder / "replicate_0", folder / "replicate_1")
  with pytest.raises(errors.InputError, match=r"replicate_1.*remove it"):
    report.write(folder)


@pytest.mark.parametrize("name", ["thesis.tex", "reports", "replicate_old"])
def test_a_folder_of_something_else_is_refused(tmp_path, name):
  (tmp_path / name).write_text("")
  commands.assert_one_line(commands.call(f"--workdir={tmp_path}", *_TINY), name)
  assert sorted(x.name for x in tmp_path.iterdir()) == [".lock", name]


def test_what_a_kill_left_before_there_was_a_config_is_no_hindrance(tmp_path):
  for name in (".shared.tmp", "config.json.tmp", "env.json", "run.flags.tmp"):
    (tmp_path / name).write_text(json.dumps(files.seal({"environments": []})))
  (tmp_path / "replicate_0").mkdir()
  result = commands.call(f"--workdir={tmp_path}", *_TINY)
  assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
  ("flag", "words"),
  [
    ("--learning_rate=0.5", ["--learning_rate", "0.0012", "0.5"]),
    ("--seed=1", ["--seed", "stored 0", "asked 1"]),
    ("--rounds=0", ["--rounds=0", "may only grow"]),
    ("--first_replicate=1", ["--first_replicate=1", "may only grow"]),
  ],
)
def test_another_run_in_the_workdir_is_refused(undisturbed, flag, words):
  before = commands.records(undisturbed)
  commands.assert_one_line(
    commands.call(f"--workdir={undisturbed}", *_TINY, flag), *words
  )
  assert commands.records(undisturbed) == before


def test_a_damaged_config_is_named(undisturbed, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(undisturbed, folder)
  config = folder / "config.json"
  config.write_text(config.read_text()[:40])
  result = commands.call(f"--workdir={folder}", *_TINY)
  commands.assert_one_line(result, "config.json", "run.flags")
  config.unlink()
  flags = f"--flagfile={folder / 'run.flags'}"
  again = commands.call(f"--workdir={folder}", flags)
  assert again.returncode == 0, again.stderr
  assert commands.records(folder) == commands.records(undisturbed)


@pytest.mark.parametrize("name", ["config.json", "env.json"])
@pytest.mark.parametrize(
  "text", ["", "{", "[]", "{}", '{"format": 1}', "NaN", "\x00"]
)
def test_a_damaged_file_of_the_workdir_is_named(
  undisturbed, tmp_path, name, text
):
  folder = tmp_path / "run"
  shutil.copytree(undisturbed, folder)
  (folder / name).write_text(text)
  commands.assert_one_line(
    commands.call(f"--workdir={folder}", *_TINY), name, "Remove it"
  )


_RUN_FILES = ".lock", "env.json", "env.json.tmp", "report/.index.html.part"
_REPORT_FILES = (
  "config.json",
  "report/.lock",
  "replicate_0/structure.json",
  *(f"replicate_0/round_001/ticket/{x}.json" for x in ("commit", "record")),
)


@pytest.mark.parametrize(
  ("name", "make"),
  [
    *((name, os.mkfifo) for name in (*_RUN_FILES, *_REPORT_FILES)),
    ("config.json", functools.partial(os.symlink, "/dev/zero")),
  ],
)
def test_what_is_no_file_ends_a_run_or_is_made_anew(
  undisturbed, tmp_path, name, make
):
  folder = tmp_path / "run"
  shutil.copytree(undisturbed, folder)
  (folder / name).unlink(missing_ok=True)
  make(folder / name)
  with within(60):
    if name in _REPORT_FILES:
      with pytest.raises(errors.InputError, match=re.escape(name)):
        report.write(folder)
    result = commands.call(f"--workdir={folder}", *_TINY)
  if result.returncode:
    commands.assert_one_line(result, name, "emove it")
  else:
    assert commands.records(folder) == commands.records(undisturbed)


@contextlib.contextmanager
def within(seconds):
  """Ends what waits for ever, as opening a FIFO does."""

  def fail(*_):
    raise TimeoutError

  before = signal.signal(signal.SIGALRM, fail)
  signal.alarm(seconds)
  try:
    yield
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
  ("name", "key", "value"),
  [
    ("config.json", "config", 5),
    ("env.json", "environments", 5),
    ("env.json", "environments", [5]),
  ],
)
def test_an_altered_value_is_named(undisturbed, tmp_path, name, key, value):
  folder = tmp_path / "run"
  shutil.copytree(undisturbed, folder)
  content = json.loads((folder / name).read_text()) | {key: value}
  (folder / name).write_text(json.dumps(content))
  commands.assert_one_line(
    commands.call(f"--workdir={folder}", *_TINY), name, "Remove it"
  )


@pytest.mark.parametrize(
  ("name", "value"), [("arms", 5), ("steps", None), ("steps", "x"), ("eta", 1)]
)
def test_an_altered_config_is_named(undisturbed, tmp_path, name, value):
  folder = tmp_path / "run"
  shutil.copytree(undisturbed, folder)
  stored = json.loads((folder / "config.json").read_text())
  stored["config"][name] = value
  (folder / "config.json").write_text(json.dumps(stored))
  result = commands.call(f"--workdir={folder}", *_TINY)
  commands.assert_one_line(result, "config.json", "run.flags")
  del stored["config"][name]
  if name == "steps":  # the default is not what was stored
    (folder / "config.json").write_text(json.dumps(stored))
    result = commands.call(f"--workdir={folder}", *_TINY)
    commands.assert_one_line(result, "config.json", "run.flags")


def test_a_data_folder_may_be_in_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  flags = "--dataset=mnist", "--source=idx", "--data_dir=~/mnist"
  result = commands.call(f"--workdir={tmp_path / 'run'}", *_TINY, *flags)
  commands.assert_one_line(result, str(tmp_path / "mnist"), "--data_dir")


def test_two_processes_do_not_share_a_workdir(tmp_path):
  long = [flag for flag in _TINY if not flag.startswith("--steps")]
  first = subprocess.Popen(
    commands.command(f"--workdir={tmp_path}", *long, "--steps=2000000"),
    cwd=_ROOT,
    stderr=subprocess.DEVNULL,
  )
  try:
    commands.wait_for(tmp_path / "replicate_0/rewind/commit.json", first)
    second = commands.start(f"--workdir={tmp_path}", *long, "--steps=2000000")
    commands.assert_one_line(second, "in use by another process")
  finally:
    first.kill()
    first.wait()


def test_sigterm_saves_and_the_same_command_goes_on(tmp_path):
  long = [flag for flag in _TINY if not flag.startswith("--steps")]
  long += ["--steps=30000", "--eval_every=1000", "--test_every=30000"]
  interrupted = tmp_path / "interrupted"
  process = subprocess.Popen(
    commands.command(
      f"--workdir={interrupted}", *long, "--checkpoint_minutes=0"
    ),
    cwd=_ROOT,
    stderr=subprocess.PIPE,
    text=True,
  )
  saved = interrupted / "replicate_0/round_000"
  commands.wait_for(saved, process)
  while not list(saved.glob("ticket.step_*/commit.json")):
    assert process.poll() is None
    time.sleep(0.01)
  process.send_signal(signal.SIGTERM)
  _, said = process.communicate(timeout=300)
  assert process.returncode == 75, said
  assert "go on" in said and "Traceback" not in said
  assert list(interrupted.rglob("*.step_*/commit.json"))
  assert commands.start(f"--workdir={interrupted}", *long).returncode == 0
  assert (
    commands.start(f"--workdir={tmp_path / 'whole'}", *long).returncode == 0
  )
  assert commands.records(interrupted) == commands.records(tmp_path / "whole")


# TensorStore's threads may call back an event loop that Orbax has closed, even
# after the command has ended.
_late_callbacks = pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def small_disk(tmp_path):
  """Mounts a file system of a given size; says where it cannot."""
  mounted = []

  def mount(limit):
    folder = tmp_path / f"disk_{len(mounted)}"
    folder.mkdir()
    tool = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", limit, "tmpfs", str(folder)]
    done = tool and subprocess.run([tool, *options], capture_output=True)
    if not done or done.returncode:
      pytest.skip("no tmpfs can be mounted here: this needs root on Linux")
    mounted.append(folder)
    return folder

  yield mount
  for folder in mounted:
    subprocess.run(["umount", str(folder)], check=True)


@_late_callbacks
@pytest.mark.parametrize("inodes", [6, 16, 40, 60])
def test_a_disk_without_inodes_loses_nothing(
  small_disk, undisturbed, monkeypatch, capfd, inodes
):
  monkeypatch.setattr(command_lib, "write_report", lambda _: None)
  folder = small_disk(f"nr_inodes={inodes}")
  full = commands.call(f"--workdir={folder / 'run'}", *_TINY)
  commands.assert_one_line(full, "No space left", "go on")
  assert full.returncode == 2 and "Traceback" not in "".join(capfd.readouterr())
  remount = ["mount", "-o", "remount,nr_inodes=999", str(folder)]
  subprocess.run(remount, check=True)
  again = commands.call(f"--workdir={folder / 'run'}", *_TINY)
  assert again.returncode == 0, again.stderr
  assert "discarded" not in again.stderr
  assert commands.records(folder / "run") == commands.records(undisturbed)


def test_a_workdir_removed_while_a_run_works_is_not_made_again(
  tmp_path, monkeypatch
):
  advance, folder = segments.advance, tmp_path / "run"

  def remove(*args):
    shutil.rmtree(folder, ignore_errors=True)
    return advance(*args)

  monkeypatch.setattr(segments, "advance", remove)
  result = commands.call(f"--workdir={folder}", *_TINY)
  commands.assert_one_line(result, str(folder), "removed")
  assert result.returncode == 2 and not folder.exists()


@_late_callbacks
@pytest.mark.parametrize("free", [0, 4, 40, 100])
def test_a_full_disk_loses_nothing(small_disk, undisturbed, free, monkeypatch):
  monkeypatch.setattr(command_lib, "write_report", lambda _: None)
  folder = small_disk("size=1m")
  filler = folder.parent / "filler"
  blocks = os.statvfs(folder)
  size = blocks.f_bavail * blocks.f_frsize - free * 1024
  workdir = folder / "run"
  workdir.mkdir()
  filler = folder / "filler"
  filler.write_bytes(bytes(size))
  full = commands.call(f"--workdir={workdir}", *_TINY)
  commands.assert_one_line(full, "No space left", "go on")
  filler.unlink()
  again = commands.call(f"--workdir={workdir}", *_TINY)
  assert again.returncode == 0, again.stderr
  assert commands.records(workdir) == commands.records(undisturbed)


@_late_callbacks
def test_a_disk_that_cannot_be_written_is_named(small_disk):
  folder = small_disk("size=1m")
  subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
  result = commands.call(f"--workdir={folder / 'run'}", *_TINY)
  commands.assert_one_line(result, str(folder), "Read-only", "go on")
