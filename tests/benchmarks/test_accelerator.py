"""The script for a borrowed accelerator keeps what it had, whatever fails."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from etils import epath
from helpers import commands, synthetic_runs

from benchmarks.accelerator import __main__ as accelerator
from benchmarks.accelerator import child, correctness, report, trials
from lth_jax.config import configs
from lth_jax.report import summary_file
from lth_jax.storage import files

_STAGES = """
import time

def hangs(asked):
  print("noise")
  yield {"what": 1}
  time.sleep(60)

def breaks(asked):
  yield {"what": 2, "ok": asked.smoke}
  raise ValueError("no device")

def works(asked):
  for value in (3, 4):
    yield {"what": "last", "value": value}
"""


def test_each_stage_is_recorded_whatever_the_others_do(monkeypatch, tmp_path):
  (tmp_path / "three.py").write_text(_STAGES)
  monkeypatch.setenv("PYTHONPATH", str(tmp_path))
  stages = {
    name: accelerator.Stage(f"three:{name}", 1.0, f"It {name}")
    for name in ("hangs", "breaks", "works")
  }
  monkeypatch.setattr(accelerator, "STAGES", stages)
  flags = "--smoke --minutes=0.2 --stages=hangs,breaks,works"
  flags += f" --out={tmp_path}/out --work={tmp_path}/work"
  monkeypatch.setattr(sys, "argv", ["accelerator", *flags.split()])
  assert accelerator.main() == 1
  found = json.loads((tmp_path / "out" / "accelerator.json").read_text())
  hangs, breaks, works = found["stages"].values()
  assert (hangs["state"], hangs["rows"]) == ("cut off", [{"what": 1}])
  assert breaks["state"] == "failed" and "no device" in breaks["error"]
  assert breaks["rows"] == [{"what": 2, "ok": True}]
  assert (works["state"], works["rows"]) == (
    "done",
    [{"what": "last", "value": 4}],
  )
  markdown = (tmp_path / "out" / "accelerator.md").read_text()
  assert "hangs: cut off" in markdown and "| last | 4 |" in markdown


def test_a_kill_keeps_the_report_and_leaves_no_process(tmp_path):
  command = [sys.executable, "-m", "benchmarks.accelerator", "--smoke"]
  command += ["--stages=limits", f"--out={tmp_path}/out"]
  with subprocess.Popen(
    [*command, f"--work={tmp_path}/work"],
    cwd=commands.ROOT,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    for line in process.stderr:
      if line.startswith("limits: {"):
        break
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    (group,) = map(int, pathlib.Path(children).read_text().split())
    process.send_signal(signal.SIGKILL)
  found = json.loads((tmp_path / "out" / "accelerator.json").read_text())
  assert found["stages"]["limits"]["state"] == "running"
  assert found["stages"]["limits"]["rows"]
  deadline = time.monotonic() + 60
  while _runs(group):
    assert time.monotonic() < deadline
    time.sleep(0.05)


def _runs(process_id):
  try:
    status = pathlib.Path(f"/proc/{process_id}/stat").read_text()
  except FileNotFoundError:
    return False
  return status.rsplit(")", 1)[1].split()[0] != "Z"


def test_a_stage_without_images_is_refused_before_the_first(
  monkeypatch, tmp_path, capsys
):
  monkeypatch.chdir(commands.ROOT)
  flags = f"--stages=trials --data_dir={tmp_path} --out={tmp_path}/out"
  monkeypatch.setattr(sys, "argv", ["accelerator", *flags.split()])
  with pytest.raises(SystemExit) as stopped:
    accelerator.main()
  assert stopped.value.code == 2
  assert str(tmp_path) in capsys.readouterr().err


def test_comparisons_can_fail():
  for error, ok in ((1e-6, True), (1e-4, False), (float("nan"), False)):
    row = correctness.row("logits", error, 1e-5)
    assert row["ok"] == ok
    stage = {"state": "done", "rows": [row]}
    assert report.is_fine({"stages": {"correctness": stage}}) == ok


def test_nothing_begins_that_would_not_end_in_time(capsys):
  asked = child.Asked(time.time() + 10, True, None, "work", "out")
  assert list(child.in_time(["short"], 1, asked)) == ["short"]
  assert list(child.in_time(["long"], 20, asked)) == []
  assert "long: no time left" in capsys.readouterr().out


@pytest.fixture
def paper_run(tmp_path):
  """A run whose rounds ended at 110 and 120; the third is unfinished."""
  workdir = tmp_path / "paper" / "mnist_lenet"
  synthetic_runs.write(workdir, rounds=2, replicates=1, arms=["ticket"])
  environment = {"environments": [{"jax": "0.0"}]}
  files.write_json(workdir / "env.json", files.add_checksum(environment))
  for index in range(3):
    folder = workdir / f"replicate_0/round_{index:03d}/ticket"
    (folder / "arrays").mkdir()
    (folder / "arrays" / "data").write_bytes(b"weights")
    (folder / "timing.json").write_text('{"seconds": 2.0}')
    os.utime(folder / "commit.json", (110 + 10 * index,) * 2)
  folder.rename(f"{folder}.step_100")
  return epath.Path(workdir)


def test_a_run_is_kept_without_arrays(paper_run, tmp_path):
  num = trials.pack(paper_run, tmp_path / "records.tar.gz")
  with tarfile.open(tmp_path / "records.tar.gz") as archive:
    names = archive.getnames()
  assert len(names) == num == 2 + 2 * 3
  assert all(name.endswith(".json") for name in names)
  assert not any(".step_" in name for name in names)
  trials.write_summary(paper_run, tmp_path / "summary.json")
  run, about = summary_file.unpack((tmp_path / "summary.json").read_text())
  assert (len(run.results), about["seconds"]) == (2, 4)


@pytest.mark.parametrize(("began", "ended"), [(90, 2), (115, 1), (125, 0)])
def test_a_run_is_extrapolated_from_rounds_that_ended(paper_run, began, ended):
  flat = json.loads((paper_run / "config.json").read_text())["config"]
  config = configs.from_flat(flat)
  row = trials.progress("mnist_lenet", config, paper_run, began, "running")
  assert (row["trainings"], row["of"], row["rounds_ended"]) == (2, 3, ended)
  each = (120 - began) / max(ended, 1)
  minutes = pytest.approx(3 * each / 60) if ended else None
  assert row["protocol_minutes"] == minutes
