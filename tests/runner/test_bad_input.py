"""Bad input: one line that says what to do, a code that is not 0, no traceback.

Also a full disk and one that cannot be written, on file systems of a few MB
that the test mounts, since root ignores file modes.
"""

import gzip
import importlib
import io
import os
import re
import runpy
import shutil
import subprocess
import sys

import pytest
from helpers import commands, workdirs

from experiments import mnist_lenet, paper, results, sweep
from experiments import report as report_command
from lth_jax import errors, report
from lth_jax.config import configs

# Images that are there, so that what is refused is the flag in question.
_BUNDLED = (*commands.TINY, "--dataset=mnist_10k")


@pytest.mark.parametrize("name", ["runs/a", "a b", "~/c"])
def test_a_workdir_may_be_relative(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("HOME", str(tmp_path))
  commands.run(name, "--rounds=0", "--replicates=1")
  folder = tmp_path / name.removeprefix("~/")
  assert workdirs.results(folder)


@pytest.mark.parametrize(
  ("flag", "words"),
  [
    ("--workdir=gs:/bucket/run", ["'gs:/bucket/run'", "gs://BUCKET/FOLDER"]),
    ("--workdir=gs://", ["gs://BUCKET/FOLDER"]),
    ("--workdir=gs:///run", ["gs://BUCKET/FOLDER"]),
    ("--workdir=GS://bucket/run", ["gs://BUCKET/FOLDER"]),
    ("--workdir=s3://bucket/run", ["gs://BUCKET/FOLDER"]),
    ("--workdir=gs://bucket/a/../b", ["without '..'"]),
    ("--workdir=gs://bucket/run*", ["'*'", "pattern", "another name"]),
    ("--workdir=runs/a?", ["'?'", "pattern"]),
    ("--workdir=runs/a[1]", ["'['", "pattern"]),
    ("--workdir=", ["--workdir"]),
    ("--arms=ticket,reinitt", ["'reinitt'", "did you mean 'reinit'"]),
    ("--rates=kernel=1.0", ["--rates", "[0, 1)"]),
    ("--rates=kernel=0.9999", ["round 1", "Dense_1/kernel", "--rates"]),
    ("--num_valid=10000", ["--num_valid", "10,000"]),
    ("--replicates=0", ["--replicates=0", "in [1, 10000]"]),
    ("word", ["'word' is no flag"]),
    ("--hidden=30,x", ["--hidden", "whole numbers"]),
    ("--devices=1000 --replicates=1000", ["--devices=1000"]),
    ("--data_dir=/nowhere --source=idx", ["mnist_10k", "idx"]),
    ("--dataset=mnist --source=idx --data_dir=~/x", ["/x", "--data_dir"]),
    ("--dataset=mnst", ["mnst", "prepare", "mnist_10k"]),
    ("--dataset=mnist", ["prepare mnist", "--data_dir", "mnist_10k"]),
    ("--learnin_rate=1", ["learning_rate", "--help"]),
    ("--optimizer=adamm", ["did you mean 'adam'", "--module"]),
    ("--steps=many", ["steps", "--help"]),
    *(
      (f"--{name}=x{text}", [f"--{name}=", "UTF-8"])
      for name, text in {
        "workdir": "\udcff",
        "data_dir": "\n--seed=7",
        "rates": "\0y",
        "arms": "\r",
        "dataset": "\x9b",
      }.items()
    ),
  ],
)
def test_a_wrong_value_is_named_before_anything_is_done(
  tmp_path, monkeypatch, flag, words
):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
  # Not split at line breaks, some of which are what is wrong.
  result = commands.call("--workdir=run", *_BUNDLED, *flag.split(" "))
  commands.assert_one_line(result, *words)
  assert result.returncode == 2
  assert not list(tmp_path.iterdir())


def test_the_process_ends_with_one_line_and_a_code(tmp_path):
  result = commands.start(f"--workdir={tmp_path}", "--replicates=0")
  commands.assert_one_line(result, "--replicates=0")
  assert result.returncode == 2


def test_commands_of_one_process_have_flags_of_their_own(monkeypatch, capsys):
  mains = [
    importlib.import_module(f"experiments.{path.stem}")
    for path in commands.ROOT.glob("experiments/*.py")
    if '__name__ == "__main__"' in path.read_text()
  ]
  assert {mnist_lenet, paper, report_command, results, sweep} <= {*mains}
  for module in mains:
    result = commands.call("--no_such_flag=1", main=module.main)
    commands.assert_one_line(result, "no_such_flag", "--help")
    assert result.returncode == 2
  for module in (mnist_lenet, report_command, sweep):  # forget the last one's
    commands.assert_one_line(commands.call(main=module.main), "such as")
  for module in [*mains, mnist_lenet]:  # as %run does
    monkeypatch.setattr(sys, "argv", ["command", "--help"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
      runpy.run_path(module.__file__, run_name="__main__")
    assert not ended.value.code
  shown = capsys.readouterr().out
  assert "quickstart.flags" in shown
  titles = re.findall(r"^([A-Z][a-z ]*):$", shown, re.MULTILINE)
  sections = [x.capitalize() for x in configs.SECTIONS]
  assert titles == ["This command", *sections, "Processes", "Help and log"]
  for name in configs.to_flat(configs.Config()):
    assert f"--{name}:" in shown or f"--[no]{name}:" in shown


@pytest.mark.parametrize(
  "content",
  [
    "--rounds=1\n".encode("utf-16"),
    "--rounds=1\n".encode("utf-16-le"),
    "--rounds=1\n".encode("utf-8-sig"),
    "--data_dir=/bücher\n".encode("latin-1"),
    b"--data_dir=/x\0y\n",
    bytes(range(256)),
    gzip.compress(b"--rounds=1\n"),
  ],
  ids=["utf-16", "no mark", "utf-8 mark", "latin-1", "nul", "binary", "gzip"],
)
def test_a_flagfile_that_is_no_text_is_one_line(tmp_path, content):
  inner, outer = tmp_path / "run.flags", tmp_path / "outer.flags"
  inner.write_bytes(content)
  outer.write_text(f"--flagfile={inner}\n")
  for path in (inner, outer):
    result = commands.try_run(tmp_path / "run", f"--flagfile={path}")
    commands.assert_one_line(result, "UTF-8")
    assert result.returncode == 2 and not (tmp_path / "run").exists()


def test_the_current_folder_must_be_text_too(tmp_path, monkeypatch):
  folder = tmp_path / "x\udcff"
  folder.mkdir()
  monkeypatch.chdir(folder)
  commands.assert_one_line(commands.try_run("run"), "UTF-8")
  assert not list(folder.iterdir())


@pytest.mark.parametrize(
  ("main", "flags"),
  [(mnist_lenet.main, _BUNDLED), (sweep.main, ["--vary=seed=0,1"])],
)
def test_without_a_home_folder_nothing_is_put_elsewhere(
  tmp_path, monkeypatch, main, flags
):
  def unknown(_):
    raise KeyError

  monkeypatch.chdir(tmp_path)
  monkeypatch.delenv("HOME")
  monkeypatch.setattr("pwd.getpwuid", unknown)
  monkeypatch.setenv("TFDS_DATA_DIR", "~/tfds")
  for name in ("~/run", "~nobody-here/run"):
    result = commands.call(f"--workdir={name}", *flags, main=main)
    commands.assert_one_line(result, name, "home folder", "whole path")
  result = commands.call("--workdir=run", *_BUNDLED, "--dataset=mnist")
  commands.assert_one_line(result, "prepare mnist")
  assert not list(tmp_path.iterdir())


def test_a_sweep_may_be_written_to_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  result = commands.call(
    *("--workdir=runs", "--vary=seed=0,1", "--out=~/sweep.sh"), main=sweep.main
  )
  assert result.returncode == 0, result.stderr
  assert "--seed=1" in (tmp_path / "sweep.sh").read_text()


def test_a_report_of_nothing_is_refused(tmp_path):
  with pytest.raises(errors.InputError, match=r"config\.json"):
    report.write(tmp_path)


def test_a_cut_data_file_is_named(tmp_path):
  for name in ("train-images-idx3", "train-labels-idx1"):
    for part in (name, name.replace("train", "t10k")):
      path = tmp_path / f"{part}-ubyte.gz"
      path.write_bytes(b"\x1f\x8b\x08 cut short")
  own = "--dataset=mnist", f"--data_dir={tmp_path}"
  result = commands.call(f"--workdir={tmp_path / 'run'}", *_BUNDLED, *own)
  commands.assert_one_line(result, "-ubyte.gz")


# What is in the workdir.


def test_what_a_new_folder_may_hold_is_no_hindrance(tmp_path, undisturbed):
  for name in ("lost+found", ".DS_Store", ".gitkeep", ".nfs00", "desktop.ini"):
    (tmp_path / name).touch()
  # A kill may have left these before there was a config.
  for name in (".shared.tmp", "config.json.tmp", "env.json", "run.flags.tmp"):
    (tmp_path / name).write_text(workdirs.with_checksum({"environments": [{}]}))
  (tmp_path / "replicate_0").mkdir()
  commands.run(tmp_path)
  assert workdirs.results(tmp_path) == workdirs.results(undisturbed)


@pytest.mark.parametrize("name", ["thesis.tex", "reports", "replicate_old"])
def test_a_folder_of_something_else_is_refused(tmp_path, name):
  (tmp_path / name).write_text("")
  commands.assert_one_line(commands.try_run(tmp_path), name)
  assert sorted(x.name for x in tmp_path.iterdir()) == [".lock", name]
  path = tmp_path / name
  commands.assert_one_line(commands.try_run(path), str(path))


def test_a_persons_copies_are_no_part_of_a_run(undisturbed, copied):
  replicate = copied / "replicate_0"
  shutil.copytree(replicate, copied / "replicate_0 copy")
  shutil.copytree(replicate / "round_001", replicate / "round_001.bak")
  (copied / "replicate_0 copy/round_000/ticket/record.json").write_text("cut")
  assert workdirs.read(copied) == workdirs.read(undisturbed)
  assert "is complete" in commands.run(copied)


def test_a_copy_under_another_number_is_to_be_removed(copied):
  shutil.copytree(copied / "replicate_0", copied / "replicate_2")
  with pytest.raises(errors.InputError, match=r"replicate_2.*remove it"):
    report.write(copied)


@pytest.mark.parametrize(
  ("flag", "words"),
  [
    ("--learning_rate=0.5", ["--learning_rate", "0.0012", "0.5"]),
    ("--seed=1", ["--seed", "stored 0", "asked 1"]),
    ("--rounds=0", ["--rounds=0", "may only grow"]),
    ("--first_replicate=1", ["--first_replicate=1", "may only grow"]),
  ],
)
def test_another_run_in_the_workdir_is_refused(copied, flag, words):
  before = workdirs.tree(copied)
  commands.assert_one_line(commands.try_run(copied, flag), *words)
  assert workdirs.tree(copied) == before


# The disk.


@pytest.fixture
def small_disk(tmp_path):
  """Mounts a file system of a given size; skips where it cannot."""
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


@pytest.mark.parametrize("inodes", [6, 40, 200])
def test_a_disk_without_inodes_loses_nothing(
  small_disk, undisturbed, capfd, inodes
):
  folder = small_disk(f"nr_inodes={inodes}")
  full = commands.try_run(folder / "run")
  commands.assert_one_line(full, "No space left", "go on")
  assert full.returncode == 2 and "Traceback" not in "".join(capfd.readouterr())
  remount = ["mount", "-o", "remount,nr_inodes=9999", str(folder)]
  subprocess.run(remount, check=True)
  assert "discarded" not in commands.run(folder / "run")
  assert workdirs.results(folder / "run") == workdirs.results(undisturbed)


@pytest.mark.parametrize("free", [0, 40, 400])
def test_a_full_disk_loses_nothing(small_disk, undisturbed, free):
  folder = small_disk("size=4m")
  blocks = os.statvfs(folder)
  size = blocks.f_bavail * blocks.f_frsize - free * 1024
  (folder / "run").mkdir()
  (folder / "filler").write_bytes(bytes(size))
  full = commands.try_run(folder / "run")
  commands.assert_one_line(full, "No space left", "go on")
  (folder / "filler").unlink()
  commands.run(folder / "run")
  assert workdirs.results(folder / "run") == workdirs.results(undisturbed)


def test_a_disk_that_cannot_be_written_is_named(small_disk):
  folder = small_disk("size=1m")
  subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
  result = commands.try_run(folder / "run")
  commands.assert_one_line(result, str(folder), "Read-only", "go on")


def test_a_workdir_removed_while_a_run_works_is_not_made_again(
  tmp_path, monkeypatch
):
  folder = tmp_path / "run"

  class Log(io.StringIO):
    """Removes the workdir when the command says that it begins to train."""

    def write(self, text):
      if "training runs of" in text:
        shutil.rmtree(folder)
      return super().write(text)

  monkeypatch.setattr(io, "StringIO", Log)  # of `commands.call`
  result = commands.try_run(folder)
  commands.assert_one_line(result, str(folder), "removed")
  assert result.returncode == 2 and not folder.exists()
