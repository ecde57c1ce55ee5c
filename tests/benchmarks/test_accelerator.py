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

from benchmarks.accelerator import __main__ as accelerator
from benchmarks.accelerator import child, correctness, report, trials
from lth_jax.config import configs

_ROOT = pathlib.Path(__file__).parents[2]


def run(monkeypatch, folder, stages):
  monkeypatch.setattr(accelerator, "STAGES", stages)
  names = ",".join(stages)
  flags = f"--smoke --stages={names} --out={folder}/out --work={folder}/work"
  monkeypatch.setattr(sys, "argv", ["accelerator", *flags.split()])
  code = accelerator.main()
  found = json.loads((folder / "out" / "accelerator.json").read_text())
  return code, found["stages"], (folder / "out" / "accelerator.md").read_text()


def test_a_failed_stage_is_recorded_and_the_next_goes_on(monkeypatch, tmp_path):
  stages = {
    "broken": accelerator.Stage("no_such_module", 0.5, "Fails"),
    "limits": accelerator.Stage("limits", 0.5, "Works"),
  }
  code, found, markdown = run(monkeypatch, tmp_path, stages)
  assert code == 1
  assert found["broken"]["state"] == "failed"
  assert "no_such_module" in found["broken"]["error"]
  assert found["limits"]["state"] == "done" and len(found["limits"]["rows"]) > 3
  assert "broken: failed" in markdown and "GB/s" in markdown


def test_a_stage_that_hangs_is_ended(monkeypatch, tmp_path):
  def start(*arguments):
    del arguments
    code = "import time; print('{\"what\": 1}', flush=True); time.sleep(60)"
    return subprocess.Popen(
      [sys.executable, "-c", code],
      stdout=subprocess.PIPE,
      text=True,
      process_group=0,
    )

  monkeypatch.setattr(accelerator, "_start", start)
  stages = {"slow": accelerator.Stage("slow", 1.0, "Hangs")}
  monkeypatch.setattr(accelerator, "_RESERVE", 712.0)
  begin = time.monotonic()
  code, found, _ = run(monkeypatch, tmp_path, stages)
  assert time.monotonic() - begin < 30
  assert (code, found["slow"]["state"]) == (1, "cut off")
  assert found["slow"]["rows"] == [{"what": 1}]


def test_a_kill_keeps_the_report_and_leaves_no_process(tmp_path):
  command = [sys.executable, "-m", "benchmarks.accelerator", "--smoke"]
  command += ["--stages=correctness", f"--out={tmp_path}/out"]
  with subprocess.Popen(
    [*command, f"--work={tmp_path}/work"],
    cwd=_ROOT,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    for line in process.stderr:
      if line.startswith("correctness: {"):
        break
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    (group,) = map(int, pathlib.Path(children).read_text().split())
    process.send_signal(signal.SIGKILL)
  found = json.loads((tmp_path / "out" / "accelerator.json").read_text())
  assert found["stages"]["correctness"]["state"] == "running"
  assert found["stages"]["correctness"]["rows"]
  deadline = time.monotonic() + 20
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
  flags = f"--stages=trials --data_dir={tmp_path} --out={tmp_path}/out"
  monkeypatch.setattr(sys, "argv", ["accelerator", *flags.split()])
  with pytest.raises(SystemExit) as stopped:
    accelerator.main()
  assert stopped.value.code == 2
  assert str(tmp_path) in capsys.readouterr().err


def test_rows_of_one_name_replace_each_other(tmp_path):
  written = report.Report(tmp_path, {"command": "x"})
  written.begin("trials", "Trains")
  for num in (1, 2):
    written.add("trials", {"what": "mnist_lenet", "trainings": num})
  written.end("trials", "done", 1.0)
  found = json.loads((tmp_path / "accelerator.json").read_text())
  assert [r["trainings"] for r in found["stages"]["trials"]["rows"]] == [2]
  assert written.fine()
  written.add("trials", {"what": "other", "ok": False})
  assert not written.fine()


@pytest.fixture
def paper_run(tmp_path):
  """Two rounds of a run as they lie in its folder, the second unfinished."""
  workdir = tmp_path / "paper" / "mnist_lenet"
  for index, names in enumerate((("ticket",), ("ticket", "random"))):
    for name in names:
      folder = workdir / f"replicate_0/round_{index:03d}/{name}"
      (folder / "arrays").mkdir(parents=True)
      (folder / "arrays" / "data").write_bytes(b"weights")
      for file in ("record.json", "timing.json", "commit.json"):
        (folder / file).write_text("{}")
      os.utime(folder / "commit.json", (100 + 10 * index,) * 2)
  partial = workdir / "replicate_0/round_001/reinit_0.step_100"
  partial.mkdir()
  (partial / "commit.json").write_text("{}")
  (workdir / "config.json").write_text("{}")
  return workdir


def test_records_are_packed_without_arrays(paper_run, tmp_path):
  target = tmp_path / "records.tar.gz"
  num = trials.pack(paper_run, target)
  with tarfile.open(target) as archive:
    names = archive.getnames()
  assert len(names) == num == 1 + 3 * 3
  assert all(name.endswith(".json") for name in names)
  assert not any(".step_" in name for name in names)


@pytest.mark.parametrize(("reinits", "ended"), [(0, 2), (1, 1)])
def test_a_run_is_extrapolated_from_rounds_that_ended(
  paper_run, reinits, ended
):
  arms = ["ticket", "random", *["reinit"] * (reinits > 0)]
  asked = {"rounds": 3, "replicates": 1, "arms": arms, "reinits": 1}
  config = configs.from_flat(asked)
  row = trials._row("mnist_lenet", config, paper_run, 90.0, "running")
  assert row["trainings"] == 3
  assert row["rounds_ended"] == ended
  seconds = {2: (110 - 90) / 2, 1: (100 - 90) / 1}[ended]
  assert row["protocol_minutes"] == pytest.approx(4 * seconds / 60)
  late = trials._row("mnist_lenet", config, paper_run, 105.0, "running")
  assert late["rounds_ended"] == (1 if ended == 2 else 0)


def test_comparisons_can_fail():
  assert correctness._row("logits", 1e-6, 1e-5)["ok"]
  assert not correctness._row("logits", 1e-4, 1e-5)["ok"]
  assert not correctness._row("logits", float("nan"), 1e-5)["ok"]


def test_a_stage_knows_its_time():
  asked = child.Asked(time.time() + 10, True, None, "work", "out")
  assert 9 < asked.left() <= 10
