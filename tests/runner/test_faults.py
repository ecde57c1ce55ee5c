"""What can go wrong around a run: it continues exactly, or one line says how.

Every fault is done to a real workdir, mostly through the command itself.
"""

import ast
import contextlib
import json
import math
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from helpers import commands, synthetic_runs, workdirs
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import report as report_command
from lth_jax import errors, report, scores
from lth_jax.parallel import segments
from lth_jax.report import provenance, records
from lth_jax.storage import store

_TICKET = "replicate_0/round_001/ticket"
_TOP = ("config.json", "env.json")


def assert_continues(folder, undisturbed, *words):
  log = commands.run(folder)
  for word in words:
    assert word in log
  assert workdirs.results(folder) == workdirs.results(undisturbed)


def assert_refused(folder, *words):
  before = workdirs.tree(folder)
  result = commands.try_run(folder)
  commands.assert_one_line(result, *words)
  assert result.returncode == 2
  assert workdirs.tree(folder) == before


# Signals and memory.


def at(folder, name, act):
  """Acts once, when a run begins to make the folder of a checkpoint."""
  acted = []

  def check(change, path):
    if change == "os.mkdir" and path.endswith(name) and not acted:
      acted.append(path)
      act()

  return workdirs.before_changes(folder, check)


_SIGNALS = ("INT", "TERM", "HUP", "USR1", "USR2", "XCPU")


@pytest.fixture
def signals():
  """Signals as a command in the foreground has them, {number: handler}."""
  numbers = [signal.Signals[f"SIG{name}"] for name in _SIGNALS]
  before = {x: signal.signal(x, signal.SIG_DFL) for x in numbers}
  yield dict.fromkeys(numbers, signal.SIG_DFL)
  for number, handler in before.items():
    signal.signal(number, handler)


@pytest.mark.parametrize("name", _SIGNALS)
def test_a_signal_saves_and_the_same_command_continues(
  tmp_path, monkeypatch, undisturbed, signals, name
):
  """The signal comes in the middle of a trial, when no save is due."""
  folder, seen, cut = tmp_path / "run", [], segments.next_segment

  def interrupt(todo, step, took):
    if step and not seen:
      seen.append(None)
      commands.interrupt(signal.Signals[f"SIG{name}"])
      seen[0] = signal.getsignal(signal.SIGTERM)
      for each in (signal.SIGHUP, signal.SIGUSR1):  # come twice by themselves
        os.kill(os.getpid(), each)
    return cut(todo, step, took)

  with monkeypatch.context() as patch:
    patch.setattr(segments, "next_segment", interrupt)
    result = commands.try_run(folder, "--checkpoint_minutes=60")
  assert result.returncode == 75
  assert f"SIG{name}: saving" in result.stderr and "go on" in result.stderr
  assert seen == [signal.SIG_DFL]  # a person's next one ends at once
  assert signals == {each: signal.getsignal(each) for each in signals}
  assert list(folder.glob("replicate_*/round_000/ticket.step_*/commit.json"))
  if name == "TERM":
    saved = folder.glob("replicate_*/round_000/ticket.step_*/record.json")
    before = {x.parent.with_suffix(""): workdirs.read_json(x) for x in saved}
    assert_continues(folder, undisturbed)
    for path, record in before.items():
      timing = workdirs.read_json(path / "timing.json")
      assert timing["from_step"]
      assert timing["began"] == record["began"]
      assert timing["seconds"] > record["seconds"] > 0


def test_a_run_under_nohup_outlives_its_terminal(tmp_path):
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    hang_up = at(tmp_path, "/rewind", lambda: os.kill(os.getpid(), 1))
    with hang_up:
      commands.run(tmp_path, "--rounds=0", "--replicates=1")
  finally:
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("signals")
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
  _, log = process.communicate(timeout=60)
  assert process.returncode == -signal.SIGINT
  assert "Traceback" not in log and "KeyboardInterrupt" not in log


@pytest.mark.slow
def test_too_little_memory_is_one_line(tmp_path):
  if sys.platform != "linux" or jax.default_backend() != "cpu":
    pytest.skip("memory is limited by ulimit -v")
  flags = (
    *("--dataset=mnist_10k", "--num_valid=100"),
    *("--hidden=30000", "--batch_size=9000"),
  )
  limited = ["bash", "-c", 'ulimit -v 6000000; exec "$@"', "bash"]
  result = subprocess.run(
    [*limited, *commands.command(f"--workdir={tmp_path / 'run'}", *flags)],
    cwd=commands.ROOT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  commands.assert_one_line(result, "out of memory", "--batch_size")
  assert result.returncode == 2


def test_memory_that_ends_in_a_round_loses_no_round(undisturbed, tmp_path):
  folder = tmp_path / "run"

  def exhaust():
    jax.block_until_ready(jnp.zeros(2**47, jnp.uint8))

  with at(folder, "round_001", exhaust):
    result = commands.try_run(folder)
  commands.assert_one_line(result, "out of memory", "stored", "--batch_devices")
  assert result.returncode == 2
  before = workdirs.commits(folder)
  assert "replicate_0/round_000/ticket" in before
  assert_continues(folder, undisturbed)
  assert before.items() <= workdirs.commits(folder).items()


def test_what_is_no_lack_of_memory_is_not_called_so(tmp_path):
  def fail():
    raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

  bug = pytest.raises(jax.errors.JaxRuntimeError, match="a bug")
  with bug, at(tmp_path, "round_000", fail):
    commands.try_run(tmp_path)


# Masks and images.


def prune_otherwise(patch):
  """Stands in for a processor whose numbers lead to other masks."""
  patch.setattr(
    scores, "magnitude", lambda w: jax.tree.map(lambda x: 1 / (abs(x) + 1), w)
  )


def test_a_save_of_other_masks_is_not_continued(tmp_path, monkeypatch):
  folder, flags = tmp_path / "run", ("--replicates=1", "--checkpoint_minutes=0")
  stop = at(folder, "round_001", commands.interrupt)
  with stop:
    assert commands.try_run(folder, *flags).returncode == 75
  assert list(folder.glob("replicate_0/round_001/ticket.*/commit.json"))
  prune_otherwise(monkeypatch)
  log = commands.run(folder, *flags)
  assert f"{_TICKET}." in log and "made from other weights or masks" in log
  timing = workdirs.read_json(folder / _TICKET / "timing.json")
  assert timing["from_step"] == 0


def test_a_ticket_of_other_masks_is_made_again(copied, monkeypatch):
  prune_otherwise(monkeypatch)
  log = commands.run(copied, "--rounds=3")
  assert f"{_TICKET} was made from other masks" in log


@pytest.mark.parametrize(
  "flags",
  [(), ("--trials_per_device=3", "--devices=1")],
  ids=["one by one", "vmapped"],
)
def test_a_trial_that_is_not_finite_leaves_its_neighbours_alone(
  tmp_path, flags
):
  flags = "--arms=ticket,noise", "--rounds=1", *flags
  commands.run(tmp_path / "fine", *flags, "--noise=0.5")
  commands.run(tmp_path / "lost", *flags, "--noise=0.5,1e38")
  fine = workdirs.results(tmp_path / "fine")
  lost = workdirs.results(tmp_path / "lost")
  assert {name: lost[name] for name in fine} == fine
  diverged = {x for x in lost if json.loads(lost[x]).get("diverged")}
  assert diverged == lost.keys() - fine.keys() != set()


# Formats, and what was copied.


@pytest.mark.parametrize("version", [99, None])
def test_another_format_is_named(copied, undisturbed, version):
  words = f"format {version!r}", "version"
  config, commit = copied / "config.json", copied / _TICKET / "commit.json"
  for path in (config, commit):
    before = path.read_text()
    workdirs.change_json(path, format=version)
    assert_refused(copied, str(path), *words)
    path.write_text(before)
  workdirs.change_json(copied / _TICKET / "record.json", format=version)
  workdirs.commit_again(copied / _TICKET)
  with pytest.raises(errors.InputError, match=r"record\.json.*version"):
    report.write(copied)
  shutil.rmtree(copied / _TICKET)
  shutil.copytree(undisturbed / _TICKET, copied / _TICKET)
  workdirs.change_json(copied / "replicate_0/structure.json", format=version)
  assert_continues(copied, undisturbed)


def copy_round(source, target, index=1):
  name = f"round_{index:03d}"
  shutil.rmtree(target / name)
  shutil.copytree(source / name, target / name)


def test_rounds_of_another_run_are_refused_by_the_run_and_its_report(
  copied, tmp_path
):
  other = tmp_path / "other"
  commands.run(other, "--seed=1", "--rounds=1", "--replicates=1")
  copy_round(other / "replicate_0", copied / "replicate_0")
  assert_refused(copied, _TICKET, "copied here", "remove it")
  with pytest.raises(errors.InputError, match=r"copied here .*remove it"):
    records.read(copied)


def test_rounds_of_an_equal_run_are_its_own(copied, undisturbed, tmp_path):
  other = tmp_path / "other"
  commands.run(other, "--replicates=1")
  copy_round(other / "replicate_0", copied / "replicate_0")
  assert_continues(copied, undisturbed, "is complete")


def test_a_round_of_another_replicate_is_refused(copied):
  for index in (0, 1):
    copy_round(copied / "replicate_0", copied / "replicate_1", index)
  assert_refused(copied, "replicate_1/round_000", "remove it")
  with pytest.raises(errors.InputError, match="remove"):
    records.read(copied)
  shutil.rmtree(copied / "replicate_0")  # now no two records are the same
  with pytest.raises(errors.InputError, match=r"copied here .*remove it"):
    records.read(copied)


def test_a_description_of_another_replicate_is_refused(copied, undisturbed):
  parts = [copied / f"replicate_{index}/structure.json" for index in range(2)]
  shutil.copy(*parts)
  with pytest.raises(errors.InputError, match="replicate 0"):
    records.read(copied)
  assert_continues(copied, undisturbed)


def test_a_workdir_may_be_moved_and_linked(younger, undisturbed, tmp_path):
  shutil.copytree(younger, tmp_path / "run")
  (tmp_path / "run/replicate_0").rename(tmp_path / "run/moved")
  (tmp_path / "run/replicate_0").symlink_to("moved")
  (tmp_path / "link").symlink_to(tmp_path / "run")
  assert_continues(tmp_path / "link", undisturbed)


# Damage. What the files of a result say is in test_identity.


@pytest.mark.parametrize("name", _TOP)
def test_every_damage_to_the_top_of_a_workdir_is_named(copied, name):
  path = copied / name
  content = path.read_bytes()
  whole = json.loads(content)
  texts = ["", "{", "[]", "{}", '{"format": 1}', "NaN", "\0", "[" * 100_000]
  texts += ['{"format": 1, "experiment": "\\ud800"}']
  changes = [{"environments": 5}, {"environments": [5]}]
  if name == "config.json":
    config = whole["config"]
    changed = [{"arms": 5}, {"steps": None}, {"steps": "x"}, {"eta": 1}]
    shorter = {key: config[key] for key in config.keys() - {"steps"}}
    changes = [{"config": 5}, {"config": shorter}]
    changes += [{"config": config | each} for each in changed]
  damaged = [text.encode() for text in texts]
  damaged += [json.dumps(whole | each).encode() for each in changes]
  damaged += [
    workdirs.with_checksum(whole | each).encode()
    for each in changes
    if each != changes[1] or name != "config.json"  # another run's, and whole
  ]
  for text in (*damaged, *_harms(content, num_flips=10)):
    if _holds(text, whole):
      continue
    path.write_bytes(text)
    assert_refused(copied, name)


def _holds(text, whole):
  """Whether only the checksum is harmed, or blanks are."""
  try:
    found = json.loads(text)
    return all(found.get(x) == whole[x] for x in whole if x != "sha256")
  except (ValueError, AttributeError, RecursionError):
    return False


def _harms(content, num_flips):
  """The same bytes cut, and with one bit flipped anywhere."""
  for share in (0.25, 0.5, 0.75):
    yield content[: int(share * len(content))]
  yield content[:-2]
  rng = random.Random(0)
  places = [0, 1, len(content) - 2]
  places += [rng.randrange(len(content)) for _ in range(num_flips)]
  for place in places:
    harmed = bytearray(content)
    harmed[place] ^= 1 << rng.randrange(8)
    yield bytes(harmed)


def test_a_config_that_is_gone_is_made_from_the_flagfile(copied, undisturbed):
  (copied / "config.json").write_text("{")
  assert_refused(copied, "config.json", "run.flags")
  (copied / "config.json").unlink()
  with commands.tiny_data():
    flags = f"--flagfile={copied / 'run.flags'}"
    result = commands.call(f"--workdir={copied}", flags, "--replicates=0")
  commands.assert_one_line(result, "--replicates=0")  # the file is read
  assert_continues(copied, undisturbed)


@pytest.mark.parametrize(
  "name",
  ["config.json", f"{_TICKET}/record.json", "replicate_0/structure.json"],
)
def test_no_report_shows_numbers_with_a_bit_flipped(copied, name):
  content = (copied / name).read_bytes()
  for harmed in _harms(content, num_flips=20):
    with contextlib.suppress(ValueError):
      if json.loads(harmed) == json.loads(content):
        continue  # a digit that float64 does not hold
    (copied / name).write_bytes(harmed)
    with pytest.raises(errors.InputError, match=pathlib.Path(name).name):
      records.read(copied)


def test_without_env_json_a_run_continues_and_says_so(copied, undisturbed):
  seen = workdirs.read_json(copied / "env.json")["environments"][-1]
  environments = [seen | {"colour": "blue"}]  # of a later version
  workdirs.change_json(copied / "env.json", environments=environments)
  assert_continues(copied, undisturbed, "colour was blue, is not known")
  (copied / "env.json").unlink()
  assert_continues(copied, undisturbed, "env.json is gone")


def test_what_no_number_depends_on_harms_nothing(copied, undisturbed):
  for name in ("run.flags", f"{_TICKET}/timing.json"):
    (copied / name).write_bytes(b"\xff")
  assert_continues(copied, undisturbed, "is complete")


@pytest.mark.parametrize(
  "content",
  [
    *({}, {"seconds": "x"}, {"seconds": 1, "finished": None}),
    *({"seconds": math.nan}, {"seconds": 1, "finished": 10**20}),
  ],
)
def test_damaged_times_are_an_error_where_they_are_read(copied, content):
  (copied / _TICKET / "timing.json").write_text(json.dumps(content))
  with pytest.raises(errors.InputError, match=r"timing\.json.*remove"):
    provenance.read(epath.Path(copied))
  assert "is missing or damaged" in report.write(copied).read_text()


@pytest.mark.parametrize(
  ("names", "make", "words"),
  [
    (
      ["replicate_0", "replicate_0/rewind", "replicate_0/round_001", _TICKET],
      pathlib.Path.touch,
      [],
    ),
    (
      [*_TOP, "run.flags.tmp", ".lock", f"{_TICKET}/commit.json"],
      pathlib.Path.mkdir,
      ["Is a directory"],
    ),
  ],
)
def test_a_file_in_the_place_of_a_folder_or_back_is_named(
  copied, undisturbed, names, make, words
):
  for name in names:
    shutil.rmtree(copied)
    path = shutil.copytree(undisturbed, copied) / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    make(path)
    assert_refused(copied, name, "mend that", *words)


# What a stranger may have made.

_EVIL = "../../x</td><script>alert(1)</script>$\\frac{$|[a](javascript:b)\n$y$"


def test_a_report_of_a_stranger_stays_inside_and_escapes(tmp_path):
  folder = tmp_path / "run"
  commands.run(folder, "--rounds=1", "--replicates=1", "--arms=ticket")
  path = folder / "replicate_0/structure.json"
  rounds = workdirs.read_json(path)["rounds"]
  for leaves in rounds.values():
    for leaf in list(leaves):
      leaves[leaf + _EVIL] = leaves.pop(leaf)
  workdirs.change_json(path, rounds=rounds)
  workdirs.change_json(folder / "config.json", experiment=_EVIL)
  image = "<img src=x onerror=alert(1)>"
  workdirs.change_json(
    folder / _TICKET / "record.json", warnings=[_EVIL, image]
  )
  workdirs.commit_again(folder / _TICKET)
  before = workdirs.tree(tmp_path).keys()
  report.write(folder)
  _assert_inert(folder / "report")
  new = workdirs.tree(tmp_path).keys() - before - {"run/report"}
  assert {x.rpartition("/")[0] for x in new} == {"run/report"}


@pytest.mark.slow  # three reports; the one above has the same page and tables
def test_a_comparison_of_strangers_stays_inside_and_escapes(tmp_path):
  small = {"rounds": 1, "replicates": 1, "arms": ["ticket"], "steps": 400}
  for name, rule in (("a<script>alert(1)", _EVIL), ("b", "kernel")):
    synthetic_runs.write(tmp_path / name, **small, rates=[f"{rule}=0.2"])
  out = tmp_path / "out"
  before = workdirs.tree(tmp_path).keys()
  flags = f"--workdir={tmp_path}/*", f"--out={out}"
  result = commands.call(*flags, main=report_command.main)
  assert result.returncode == 0, result.stderr
  for folder in (out, *tmp_path.glob("*/report")):
    _assert_inert(folder)
  new = {x for x in workdirs.tree(tmp_path).keys() - before if "." in x}
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
      assert b"<script" not in content and b"<img src=x" not in content, path
    if path.suffix == ".md":
      assert b"](javascript" not in content, path


def test_nothing_here_runs_what_a_file_says():
  banned = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
  calls = {"eval", "exec", "compile", "__import__"}
  unsafe = {"load", "load_all", "unsafe_load", "full_load"}
  for folder in ("lth_jax", "experiments"):
    for path in (commands.ROOT / folder).rglob("*.py"):
      # Processes of one run send each other pickled values.
      allowed = {"pickle"} if path.match("parallel/processes.py") else set()
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
          names = {each.name for each in node.names}
          assert not names & banned - allowed, path
        elif isinstance(node, ast.ImportFrom):
          assert node.module not in banned, path
        elif isinstance(node, ast.Call):
          name = ast.unparse(node.func)
          assert name not in calls, path
          assert name not in {f"yaml.{each}" for each in unsafe}, path
          if name in ("np.load", "numpy.load"):
            assert "allow_pickle=False" in ast.unparse(node), path


def test_a_config_that_asks_for_countless_trainings_is_refused(copied):
  config = workdirs.read_json(copied / "config.json")["config"]
  asked = config | {"replicates": 10_000, "rounds": 1000}
  workdirs.change_json(copied / "config.json", config=asked)
  with pytest.raises(errors.InputError, match="ask for fewer"):
    records.read(copied)


def test_names_of_a_stranger_do_not_reach_the_terminal(copied):
  path = copied / _TICKET / "commit.json"
  commit = workdirs.read_json(path)
  workdirs.change_json(path, owner="x\n\x1b[2Jerror: y")
  assert_refused(copied, _TICKET, "copied here")
  named = commit["files"] | {"\x1b[2J\nerror: y": "0"}
  workdirs.change_json(path, owner=commit["owner"], files=named)
  log = commands.run(copied)
  assert "\x1b" not in log
  assert not [line for line in log.splitlines() if line.startswith("error")]


_ARRAYS = {"params": {"w": np.ones((2, 3), np.float32)}, "masks": {"w": None}}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
  folder = tmp_path_factory.mktemp("checkpoint") / "ticket"
  store.save(epath.Path(folder), "me", _ARRAYS, {"a": 1}, {})
  return folder


@pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnraisableExceptionWarning",
  "ignore::pytest.PytestUnhandledThreadExceptionWarning",
)
@settings(max_examples=60, derandomize=True)
@given(choice=st.data())
def test_arrays_with_digests_that_fit_are_read_or_refused(checkpoint, choice):
  """What Orbax is given by a stranger, who can make digests too."""
  with tempfile.TemporaryDirectory() as name:
    folder = shutil.copytree(checkpoint, pathlib.Path(name) / "ticket")
    paths = [x for x in (folder / "arrays").rglob("*") if x.stat().st_size]
    path = choice.draw(st.sampled_from(sorted(x for x in paths if x.is_file())))
    content = bytearray(path.read_bytes())
    content = content[: choice.draw(st.integers(0, len(content)))] or content
    place = choice.draw(st.integers(0, len(content) - 1))
    content[place] = choice.draw(st.integers(0, 255))
    path.write_bytes(content)
    workdirs.commit_again(folder)
    try:
      arrays, _ = store.load(epath.Path(folder), "me", _ARRAYS)
    except errors.InputError as error:
      assert "\n" not in str(error)
    else:
      found = arrays["params"]["w"]
      assert (found.shape, found.dtype) == ((2, 3), np.float32)
