"""What is started here listens on this machine alone, as the operating system tells."""

from __future__ import annotations

import ipaddress

import psutil
import pytest

from tensorlake_nb import Graph, configure, tensorlake_function
from tensorlake_nb.engine.cluster import session


def listening() -> dict[tuple[str, int], int]:
    """The addresses on which this process and those that it started listen, each with the process's number."""
    own = psutil.Process()
    found = {}
    for process in (own, *own.children(recursive=True)):
        for connection in process.net_connections(kind="all"):
            if connection.status == psutil.CONN_LISTEN:
                found[connection.laddr.ip, connection.laddr.port] = process.pid
    return found


@pytest.mark.parametrize("cluster", ["embedded", "threads"])
def test_the_cluster_and_its_dashboard_listen_on_loopback_only(cluster: str) -> None:
    @tensorlake_function
    def doubled(x: int) -> int:
        return 2 * x

    session.current().close()
    before = listening()
    configure(cluster=cluster, workers=2)
    try:
        assert Graph("sockets", start_node=doubled).run(x=1).result() == 2

        opened = {address: pid for address, pid in listening().items() if address not in before}

        assert [address for address, _ in opened if not ipaddress.ip_address(address).is_loopback] == []
        # A scheduler, its dashboard, and for processes a nanny's and a worker's each.
        assert len(opened) >= (5 if cluster == "embedded" else 0)
    finally:
        session.current().close()
        configure(cluster="threads", workers=2)
    assert set(listening()) <= set(before)
