"""What libraries make comes back: graphs and figures."""

from __future__ import annotations

import matplotlib
import networkx as nx

from tensorlake_nb.store.codecs.codec import decode
from tests.support.pickles import kept, there_and_back


def test_a_graph_whose_edges_were_looked_at() -> None:
    graph = nx.path_graph(4)
    assert len(graph.edges) == 3
    back = there_and_back(graph)
    assert list(back.edges) == [(0, 1), (1, 2), (2, 3)]
    assert back.edges._graph is back


def test_a_figure_is_a_figure_and_opens_nothing_in_pyplot() -> None:
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt  # after its backend was chosen

    figure, axes = plt.subplots()
    axes.plot([1, 2, 4])
    stored = kept(figure)
    plt.close(figure)
    back = decode(stored.codec, stored.data)
    assert list(back.axes[0].lines[0].get_ydata()) == [1, 2, 4]
    assert back.axes[0].figure is back
    assert plt.get_fignums() == []
