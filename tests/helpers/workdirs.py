"""What a workdir holds: to compare two of them, and to harm one."""

import contextlib
import functools
import hashlib
import json
import pathlib
import sys
import threading

import jax
import orbax.checkpoint as ocp

from lth_jax import errors
from lth_jax.report import records


def commits(folder, also_intermediate=False):
  """{name of a checkpoint: when it was committed}, while others write too."""
  found = {}
  for pattern in ("replicate_*/rewind", "replicate_*/round_*/*"):
    for path in pathlib.Path(folder).glob(f"{pattern}/commit.json"):
      # A dot is in the names of intermediate checkpoints.
      if also_intermediate or "." not in path.parent.name:
        with contextlib.suppress(FileNotFoundError):
          name = str(path.parent.relative_to(folder))
          found[name] = path.stat().st_mtime_ns
  return found


def arrays(folder):
  """The arrays of a checkpoint, as Orbax reads them."""
  with ocp.PyTreeCheckpointer() as checkpointer:
    return checkpointer.restore(folder / "arrays")


def content_of(folder):
  """{name: bytes} of a run's files, and of the leaves of its arrays."""
  content = {}
  for path in sorted(folder.rglob("*")):
    name = str(path.relative_to(folder))
    if path.name in ("commit.json", "timing.json"):
      content[name] = None  # times, and digests of Orbax's random file names
    elif path.is_file() and "arrays" not in path.parts:
      content[name] = _without_start(path)
  for name in commits(folder):
    for keys, leaf in jax.tree.leaves_with_path(arrays(folder / name)):
      place = f"{name}/arrays{jax.tree_util.keystr(keys)}"
      content[place] = str(leaf.dtype), leaf.shape, leaf.tobytes()
  return content


def _without_start(path):
  """The content of a file but for the times and commands of starts."""
  content = path.read_bytes()
  if path.name == "env.json":
    seen = json.loads(content)["environments"]
    kept = [
      {k: x for k, x in each.items() if k not in ("began", "command")}
      for each in seen
    ]
    return [each for k, each in enumerate(kept) if each not in kept[:k]]
  if path.name == "index.html":
    before, _, after = content.partition(b"<h2>How this run was made</h2>")
    return before, after.partition(b"<h2>Configuration</h2>")[2]
  return content


def check_equal(content, expected):
  assert content.keys() - expected.keys() == set()
  assert expected.keys() - content.keys() == set()
  assert [n for n, value in content.items() if value != expected[n]] == []


def results(folder):
  """{name: bytes} of a run's records and descriptions of tickets."""
  found = {
    str(path.relative_to(folder)): path.read_bytes()
    for name in ("record", "structure")
    for path in pathlib.Path(folder).glob(f"replicate_*/**/{name}.json")
  }
  assert not [name for name in found if "." in pathlib.Path(name).parent.name]
  return found


def tree(folder):
  """{name: bytes} of all below a folder but its lock and its measurements.

  Measurements are written while trials train, also of one that fails.
  """
  return {
    str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
    for path in pathlib.Path(folder).rglob("*")
    if path.name not in (".lock", "metrics.jsonl")
  }


def read(folder):
  """What a report is made of, a set of texts; None where it is refused."""
  try:
    run = records.read(folder)
  except errors.InputError as error:
    assert "\n" not in str(error)
    return None
  return {repr(each) for each in (*run.results, *run.tickets)}


def read_json(path):
  return json.loads(path.read_text())


def change_json(path, **changes):
  """Changes values; a checksum is made to fit, as anybody can."""
  content = read_json(path) | changes
  path.write_text(
    with_checksum(content) if "sha256" in content else json.dumps(content)
  )


def with_checksum(content):
  """JSON text of a dict, with the SHA-256 of all else in it."""
  rest = {name: value for name, value in content.items() if name != "sha256"}
  text = json.dumps(rest, sort_keys=True)
  digest = hashlib.sha256(text.encode()).hexdigest()
  return json.dumps({**rest, "sha256": digest})


def commit_again(checkpoint):
  """Makes the digests of a checkpoint those of its files, as anybody can."""
  change_json(
    checkpoint / "commit.json",
    files={
      str(path.relative_to(checkpoint)): hashlib.sha256(
        path.read_bytes()
      ).hexdigest()
      for path in sorted(checkpoint.rglob("*"))
      if path.is_file() and path.name not in ("commit.json", "timing.json")
    },
  )


_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
_watched = {}  # what to call, of a folder; None while it is called
_turn = threading.RLock()


@contextlib.contextmanager
def before_changes(folder, act):
  """Calls a function before a file below a folder is changed by this process.

  Changes are what Python is asked for: opening to write, renaming, removing,
  making a folder. Other threads wait to change something until the function
  has returned; what it changes itself does not count.

  Args:
    folder: of a run.
    act: of the name of the change, as in Python's table of audit events, and
      the path.
  """
  _install()
  _watched[str(folder)] = act
  try:
    yield
  finally:
    del _watched[str(folder)]


@functools.cache
def _install():
  sys.addaudithook(_audit)  # never to be removed


def _audit(event, args):
  if not (_watched and (event in _CHANGES or is_write(event, args))):
    return
  path = str(args[0])
  for folder in [x for x in _watched if path.startswith(x)]:
    with _turn:
      if act := _watched.get(folder):
        _watched[folder] = None
        try:
          act(event, path)
        finally:
          _watched[folder] = act


def is_write(event, args):
  """Whether an audit event is that of a file opened to be written."""
  return event == "open" and args[1] in ("w", "wb")
