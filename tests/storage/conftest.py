import pytest
from etils import epath
from helpers import object_store

from lth_jax.storage import buckets


@pytest.fixture(scope="session")
def server():
  """The address of a server that speaks the protocol of gs://."""
  with object_store.serve() as (_, url):
    yield url


@pytest.fixture
def workdir(server):
  """A workdir in a bucket of the test's own."""
  bucket = object_store.make_bucket(server)
  return buckets.connect(epath.Path(f"{bucket}/runs/first"))
