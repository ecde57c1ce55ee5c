"""The JobSets of a sweep: what Kubernetes is asked to run, and when again."""

import os
import re

import pytest
import yaml
from helpers import sweeps

from lth_jax import errors

_HOST, _SLICE = "tpu-v5-lite-podslice:2x4", "tpu-v5-lite-podslice:4x8"


def jobs(found, workdir="runs", tpu=""):
  return list(
    yaml.safe_load_all(sweeps.text("jobset", found, workdir, tpu=tpu))
  )


def _job(made):
  return made["spec"]["replicatedJobs"][0]["template"]


def _pod(made):
  return _job(made)["spec"]["template"]["spec"]


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
  run = [_pod(each)["containers"][0]["command"] for each in made]
  assert [tuple(map(_expanded, words)) for words in run] == sweeps.commands(
    found
  )
  labels = [each["metadata"]["name"] for each in made]
  assert labels == [point.label for point in found]


def test_a_jobset_asks_for_a_tpu_and_keeps_local_runs_on_a_volume():
  pod = _pod(jobs(sweeps.make("runs"), tpu=_HOST)[0])
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
  made, _ = jobs(sweeps.make("runs"), tpu=_HOST)
  for code, disrupted, action in (
    (75, False, "Ignore"),
    (75, True, "Ignore"),
    (137, True, "Ignore"),
    (2, False, "FailJob"),
    (1, False, "Count"),
    (137, False, "Count"),
  ):
    assert _ends(made, code, disrupted) == action
  # Without these Kubernetes takes no such policy, or none of the tries.
  assert _pod(made)["restartPolicy"] == "Never"
  assert _job(made)["spec"]["backoffLimit"] == 3


def test_a_jobset_on_several_hosts():
  """A pod a host; when one ends, all start again, unless it was a mistake."""
  made, _ = jobs(
    sweeps.make("gs://b", ["--distributed=auto"]), "gs://b", _SLICE
  )
  job = _job(made)["spec"]
  assert (job["parallelism"], job["completions"]) == (8, 8)
  assert job["completionMode"] == "Indexed" and job["backoffLimit"] == 0
  [container] = _pod(made)["containers"]
  assert container["resources"]["limits"] == {"google.com/tpu": 4}
  assert [_ends(made, code) for code in (2, 75)] == ["FailJob", "Count"]
  policy = made["spec"]["failurePolicy"]
  assert policy["rules"][0]["action"] == "FailJobSet" and policy["maxRestarts"]


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
  [container] = _pod(jobs(sweeps.make(workdir), workdir)[0])["containers"]
  assert [x["mountPath"] for x in container["volumeMounts"]] == [path]
  written = container["command"][-1].removeprefix("--workdir=")
  written = os.path.normpath(os.path.join(container["workingDir"], written))
  assert os.path.dirname(written) == path


_MANY = "--distributed=auto"


@pytest.mark.parametrize(
  ("workdir", "base", "tpu", "message"),
  [
    *(
      (workdir, sweeps.SMOKE, "", f"--workdir={workdir}: {reason}")
      for workdir, reason in (
        ("~/runs", "a pod's home"),
        ("~", "a pod's home"),
        (".", "a volume there hides the code"),
        ("/", "a volume there hides the code"),
        ("runs/..", "a volume there hides the code"),
        ("../lth_jax/lth_jax", "a volume there hides the code"),
        ("experiments/runs", "a volume there hides the code"),
        ("a:b", "a volume's path has no colon"),
      )
    ),
    ("gs://b", sweeps.SMOKE, _SLICE, "put --distributed=auto after"),
    ("gs://b", sweeps.SMOKE, "tpu-v4-podslice:2x2x2", "put --distributed=auto"),
    ("gs://b", _MANY, _HOST, "that is one host"),
    ("gs://b", _MANY, "", "one host without a TPU"),
    ("gs://b", sweeps.SMOKE, "v5e", "--tpu=v5e: must be"),
    ("gs://b", sweeps.SMOKE, "v5e:4x0", "--tpu=v5e:4x0: must be"),
  ],
)
def test_what_no_job_can_be_is_an_error(workdir, base, tpu, message):
  with pytest.raises(errors.InputError) as caught:
    jobs(sweeps.make(workdir, [base]), workdir, tpu)
  assert message in str(caught.value) and "\n" not in str(caught.value)


def test_jobs_of_jobsets_are_valid():
  kubernetes_validate = pytest.importorskip("kubernetes_validate")
  alone = jobs(sweeps.make("runs"), tpu=_HOST)
  several = sweeps.make("runs", [sweeps.SMOKE, _MANY])
  for made in (alone[0], jobs(several, tpu=_SLICE)[0]):
    assert made["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
    kind = {"apiVersion": "batch/v1", "kind": "Job"}
    job = {**kind, "metadata": made["metadata"], **_job(made)}
    kubernetes_validate.validate(job, "1.31", strict=True)
    job["spec"]["podFailurePolicies"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
      kubernetes_validate.validate(job, "1.31", strict=True)
