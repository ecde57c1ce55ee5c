"""The JobSets of a sweep: what Kubernetes is asked to run, and when again."""

import os
import pathlib
import re

import pytest
import yaml
from helpers import sweeps

from lth_jax import errors

_ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_a_clone(monkeypatch):
  monkeypatch.chdir(_ROOT)


def jobs(found, workdir="runs", tpu=""):
  return list(
    yaml.safe_load_all(sweeps.text("jobset", found, workdir, tpu=tpu))
  )


def _expanded(word):
  """As Kubernetes reads a word of a command, where $(HOME) is known."""
  return re.sub(
    r"\$(\$|\(HOME\))", lambda x: "$" if x[1] == "$" else "/root", word
  )


@pytest.mark.parametrize(
  "odd", [sweeps.ODD, "$(HOME)", "$$(HOME) $$$ $", "$(PATH)$$"]
)
def test_jobsets_have_a_point_each(odd):
  found = sweeps.make(odd, [f"--data_dir={odd}"])
  made = jobs(found)
  containers = [_pod(each)["containers"][0] for each in made]
  assert [
    tuple(map(_expanded, each["command"])) for each in containers
  ] == sweeps.commands(found)
  assert [each["metadata"]["name"] for each in made] == [
    point.label for point in found
  ]


def _job(made):
  return made["spec"]["replicatedJobs"][0]["template"]


def _pod(made):
  return _job(made)["spec"]["template"]["spec"]


def _job(made):
  return made["spec"]["replicatedJobs"][0]["template"]


def _pod(made):
  return _job(made)["spec"]["template"]["spec"]


def test_a_jobset_asks_for_a_tpu_and_keeps_local_runs_on_a_volume():
  pod = _pod(jobs(sweeps.make("runs"), tpu="tpu-v5-lite-podslice:2x4")[0])
  [container] = pod["containers"]
  assert container["resources"] == {"limits": {"google.com/tpu": 8}}
  assert container["volumeMounts"][0]["mountPath"] == "/lth_jax/runs"
  assert pod["nodeSelector"] == {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
    "cloud.google.com/gke-tpu-topology": "2x4",
  }
  remote = _pod(jobs(sweeps.make("gs://bucket"), workdir="gs://bucket")[0])
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


def test_a_pod_that_was_stopped_is_no_failure():
  made = jobs(sweeps.make("runs"), tpu="tpu-v5-lite-podslice:1x1")
  assert len(made) == 2
  for each in made:
    assert [
      _ends(each, code, disrupted)
      for code, disrupted in (
        *((75, False), (75, True), (137, True)),
        *((2, False), (1, False), (137, False)),
      )
    ] == ["Ignore"] * 3 + ["FailJob", "Count", "Count"]
    # Without these Kubernetes takes no such policy, or none of the tries.
    assert _pod(each)["restartPolicy"] == "Never"
    assert _job(each)["spec"]["backoffLimit"] == 3


def test_a_volume_is_where_the_run_writes():
  for workdir, path in {
    "runs/sweep/": "/lth_jax/runs/sweep",
    "./runs": "/lth_jax/runs",
    "/data/runs": "/data/runs",
    "../runs": "/runs",
    "experiments_2": "/lth_jax/experiments_2",
  }.items():
    [container] = _pod(jobs(sweeps.make(workdir), workdir)[0])["containers"]
    assert [x["mountPath"] for x in container["volumeMounts"]] == [path]
    written = container["command"][-1].removeprefix("--workdir=")
    written = os.path.normpath(os.path.join(container["workingDir"], written))
    assert os.path.dirname(written) == path


def test_a_folder_that_can_be_no_volume_is_an_error():
  for workdir, reason in {
    "~/runs": "a pod's home",
    "~": "a pod's home",
    ".": "hides the code",
    "/": "hides the code",
    "runs/..": "hides the code",
    "../lth_jax/lth_jax": "hides the code",
    "experiments/runs": "hides the code",
    "a:b": "has no colon",
  }.items():
    with pytest.raises(errors.InputError, match=reason) as caught:
      jobs(sweeps.make(workdir), workdir)
    assert str(caught.value).startswith(f"--workdir={workdir}: ")
    assert "\n" not in str(caught.value)


def test_a_jobset_on_several_hosts():
  """A pod a host; when one ends, all start again, unless it was a mistake."""
  pod_slice = "tpu-v5-lite-podslice:4x8"
  found = sweeps.make("gs://b", ["--distributed=auto"])
  for made in jobs(found, "gs://b", pod_slice):
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


def test_a_tpu_that_does_not_fit_is_an_error():
  for base, tpu, message in (
    (sweeps.SMOKE, "tpu-v5-lite-podslice:4x4", "put --distributed=auto after"),
    (sweeps.SMOKE, "tpu-v4-podslice:2x2x2", "put --distributed=auto after"),
    ("--distributed=auto", "tpu-v5-lite-podslice:2x4", "that is one host"),
    ("--distributed=auto", "", "one host without a TPU"),
    *(
      (sweeps.SMOKE, tpu, f"--tpu={tpu}: must be") for tpu in ("v5e", "v5e:4x0")
    ),
  ):
    with pytest.raises(errors.InputError, match=message):
      jobs(sweeps.make("gs://b", [base]), "gs://b", tpu)


def test_jobs_of_jobsets_are_valid():
  kubernetes_validate = pytest.importorskip("kubernetes_validate")
  alone = jobs(sweeps.make("runs"), tpu="tpu-v5-lite-podslice:1x1")
  several = sweeps.make("runs", [sweeps.SMOKE, "--distributed=auto"])
  for made in alone + jobs(several, tpu="tpu-v5-lite-podslice:4x4"):
    assert made["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    kind = {"apiVersion": "batch/v1", "kind": "Job"}
    job = {**kind, "metadata": made["metadata"], **_job(made)}
    kubernetes_validate.validate(job, "1.31", strict=True)
    job["spec"]["podFailurePolicies"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
      kubernetes_validate.validate(job, "1.31", strict=True)
