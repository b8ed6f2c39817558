/** A mark beside each cell that makes a graph: fresh, stale, failed, running, told by glyph and word. */

import type { NotebookPanel } from '@jupyterlab/notebook';
import { h } from './dom';
import type { GraphSummary } from './messages';
import { GRAPH_GLYPHS } from './sidebarView';
import { oneLine } from './words';

/** The name of the graph that a cell makes; null if it makes none. */
export function graphNameIn(source: string): string | null {
  const magic = /^\s*%%tensorlake[ \t]+([^\s-][^\s]*)/.exec(source);
  if (magic) return magic[1]?.replace(/^(['"])(.*)\1$/, '$2') ?? null;
  const made = /\bGraph\(\s*(?:name\s*=\s*)?(['"])((?:(?!\1).)+)\1/.exec(source);
  return made?.[2] ?? null;
}

/** What a badge says when the pointer rests on it. */
export function badgeTitle(graph: GraphSummary): string {
  const words: Readonly<Record<GraphSummary['state'], string>> = {
    fresh: 'The last run has everything as the code is now.',
    stale: `The code changed since the last run: ${graph.stale.map((name) => oneLine(name, 40)).join(', ')}.`,
    failed: 'The last run did not succeed.',
    running: 'It is running.',
    new: 'It was not run in this store yet.',
  };
  return `${oneLine(graph.name, 80)}: ${words[graph.state]}`;
}

/** Put badges on the cells of a notebook. */
export function showBadges(panel: NotebookPanel, graphs: readonly GraphSummary[]): void {
  for (const cell of panel.content.widgets) {
    const prompt = cell.node.querySelector('.jp-InputArea-prompt');
    prompt?.querySelector('.tlk-badge')?.remove();
    if (cell.model.type !== 'code' || prompt === null) continue;
    const name = graphNameIn(cell.model.sharedModel.getSource());
    const graph = name === null ? undefined : graphs.find((each) => each.name === name);
    if (graph === undefined) continue;
    const title = badgeTitle(graph);
    prompt.append(
      h(
        'span',
        { class: 'tlk-badge', role: 'img', 'data-state': graph.state, title, 'aria-label': title },
        `${GRAPH_GLYPHS[graph.state]} ${graph.state}`,
      ),
    );
  }
}

/** Whether a notebook is any of our business: nothing is asked of the kernels of others. */
export function usesTensorlake(panel: NotebookPanel): boolean {
  return panel.content.widgets.some(
    (cell) => cell.model.type === 'code' && cell.model.sharedModel.getSource().includes('tensorlake'),
  );
}
