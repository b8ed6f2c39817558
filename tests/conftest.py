"""Settings of all tests, and what several kinds of them share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# a deadline per example measures the machine; the examples that failed are kept in .hypothesis and tried first
settings.register_profile("tensorlake", deadline=None, print_blob=True)
settings.load_profile("tensorlake")


def pytest_collection_finish() -> None:
    """What all test modules have imported stays to the end: no garbage collection looks through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, Any]]:
    """An S3 server on loopback with an empty bucket, and how to reach it."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    reached = {"endpoint_url": f"http://{host}:{port}", "key": "test", "secret": "test"}
    client = boto3.client(
        "s3",
        endpoint_url=reached["endpoint_url"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="bucket")
    client.close()
    yield reached
    server.stop()
