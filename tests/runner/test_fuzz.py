"""Files that anybody may have made: an answer or one line, nothing else.

Every reader is given JSON with any other value at any place, with checksums
that fit.
"""

import contextlib
import copy
import dataclasses
import functools
import hashlib
import json
import pathlib
import shutil
import tempfile

import numpy as np
import pytest
from etils import epath
from helpers import results, synthetic_runs, workdirs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lth_jax import errors
from lth_jax.analysis import summary
from lth_jax.config import configs
from lth_jax.report import claims, records, structure, summary_file
from lth_jax.runner import environment, workdir
from lth_jax.storage import files, store

_EXAMPLES = settings(
  max_examples=60,
  derandomize=True,
  suppress_health_check=[
    HealthCheck.function_scoped_fixture,
    HealthCheck.too_slow,
  ],
)
_JSON = st.recursive(
  st.none()
  | st.booleans()
  | st.integers(-(2**70), 2**70)
  | st.floats()
  | st.sampled_from(["", "nan", "../../etc/x", "<script>", "a\nb", "\x00"]),
  lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["step", "format", "x"]), inner)
  ),
  max_leaves=4,
)


def _places(value, path=()):
  """The paths of all values in a JSON value."""
  yield path
  items = value.items() if isinstance(value, dict) else ()
  if isinstance(value, list):
    items = enumerate(value[:3])
  for key, inner in items:
    yield from _places(inner, (*path, key))


@st.composite
def _changed(draw, value):
  """The same JSON with another value, or none, at one place."""
  value = copy.deepcopy(value)
  path = draw(st.sampled_from(sorted(_places(value), key=repr)))
  if not path:
    return draw(_JSON)
  holder = functools.reduce(lambda inner, key: inner[key], path[:-1], value)
  if isinstance(holder, dict) and draw(st.booleans()):
    del holder[path[-1]]
  else:
    holder[path[-1]] = draw(_JSON)
  return value


@contextlib.contextmanager
def _an_answer_or_one_line():
  try:
    yield
  except errors.InputError as error:
    message = str(error)
    assert message and "\n" not in message and len(message) < 2000


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run")
  changes = {"rounds": 1, "replicates": 1, "steps": 400, "arms": ["ticket"]}
  return synthetic_runs.write(folder / "run", **changes)


def _with_checksum(value):
  """Its JSON, with a checksum that fits."""
  is_dict = isinstance(value, dict)
  return workdirs.with_checksum(value) if is_dict else json.dumps(value)


@contextlib.contextmanager
def _copy(run, name, content):
  """A copy of a run with one file replaced, and its checksum with it."""
  with tempfile.TemporaryDirectory() as scratch:
    folder = shutil.copytree(run, pathlib.Path(scratch) / "run")
    (folder / name).write_bytes(content)
    if name.endswith("record.json"):
      workdirs.commit_again((folder / name).parent)
    yield folder


_RECORD = "replicate_0/round_001/ticket/record.json"


@pytest.mark.parametrize("name", ["config.json", _RECORD])
@_EXAMPLES
@given(data=st.data())
def test_records_with_any_value_are_read_or_refused(small_run, name, data):
  value = data.draw(_changed(json.loads((small_run / name).read_text())))
  text = _with_checksum(value) if name == "config.json" else json.dumps(value)
  with (
    _copy(small_run, name, text.encode()) as folder,
    _an_answer_or_one_line(),
  ):
    claims.evaluate(records.read(folder))


@_EXAMPLES
@given(data=st.data())
def test_digests_with_any_value_are_read_or_refused(data):
  value = json.loads(_DIGEST)
  text = json.dumps(data.draw(_changed(value)))
  with _an_answer_or_one_line():
    run, _ = summary_file.unpack(text)
    claims.evaluate(run)


_DIGEST = summary_file.pack(
  dataclasses.replace(
    results.run(
      ticket=[[(500, 98.0), (400, 98.5)]], reinit=[[None, (600, 97.0)]]
    ),
    tickets=(structure.TicketStatistics(0, 1, "w", *[0.5] * 8),),
  ),
  {"seconds": 1, "environment": {}},
)


@functools.cache
def _structure():
  weights = {"w": np.linspace(-1, 1, 6).reshape(3, 2)}
  masks = {"w": weights["w"] > 0}
  return {
    "format": 3,
    "replicate": 0,
    "theta_0": "0",
    "trained": "0",
    "masks": {"0": "0"},
    "rounds": {"0": summary.describe(weights, weights, masks)},
  }


@_EXAMPLES
@given(data=st.data())
def test_descriptions_with_any_value_are_read_or_refused(data):
  value = data.draw(_changed(_structure()))
  with tempfile.TemporaryDirectory() as name, _an_answer_or_one_line():
    path = pathlib.Path(name) / "replicate_0" / "structure.json"
    path.parent.mkdir()
    path.write_text(_with_checksum(value))
    structure.load(pathlib.Path(name), {(0, 0)})


@pytest.mark.parametrize(
  ("name", "read"),
  [("config.json", workdir.read_config), ("env.json", environment.layouts)],
)
@_EXAMPLES
@given(data=st.data())
def test_the_top_of_a_workdir_is_read_or_refused(name, read, data):
  config = configs.Config()
  whole = {
    "config.json": {
      "format": files.FORMAT,
      "experiment": "x",
      "run_id": configs.run_id(config),
      "data": "0",
      "config": configs.to_flat(config),
    },
    "env.json": {
      "environments": [{"trials_per_device": 2, "batch_devices": 1}]
    },
  }[name]
  text = _with_checksum(data.draw(_changed(whole)))
  with tempfile.TemporaryDirectory() as scratch, _an_answer_or_one_line():
    (pathlib.Path(scratch) / name).write_text(text)
    read(epath.Path(scratch))


@_EXAMPLES
@given(data=st.data())
def test_a_commit_with_any_value_is_damage(data):
  names = ("record.json", "arrays")
  written = {x: hashlib.sha256(b"{}").hexdigest() for x in names}
  commit = {"format": 3, "owner": "me", "files": written}
  changed = data.draw(_changed(commit))
  with tempfile.TemporaryDirectory() as scratch, _an_answer_or_one_line():
    folder = epath.Path(scratch)
    for name in names:
      (folder / name).write_text("{}")
    (folder / "commit.json").write_text(json.dumps(changed))
    assert store.load_record(folder, "me") == {}
    assert changed["files"].items() >= written.items()
