/** The same facts as the drawing, as a table. */

import { h, setAttribute, setText } from './dom';
import type { PanelState, Plan, State } from './messages';
import { type Box, hasState, toBoxes } from './viewModel';
import { duration, oneLine } from './words';

const TITLES = ['Function', 'Kind', 'State', 'Elements', 'Outputs', 'Time', 'Takes from'] as const;

export class TableView {
  readonly element: HTMLElement;
  private readonly body = h('tbody');
  private filter: State | null = null;
  private last: { readonly state: PanelState; readonly plan: Plan | null } | null = null;

  constructor(private readonly select: (node: string) => void) {
    const heads = TITLES.map((title) => h('th', { scope: 'col' }, title));
    this.element = h(
      'div',
      { class: 'tlk-table-frame', tabindex: 0, role: 'region', 'aria-label': 'Functions' },
      h('table', { class: 'tlk-table' }, h('thead', {}, h('tr', {}, ...heads)), this.body),
    );
  }

  update(state: PanelState, plan: Plan | null): void {
    this.last = { state, plan };
    const boxes = toBoxes(state, plan);
    const rows = [...this.body.children] as HTMLTableRowElement[];
    const isSame = rows.length === boxes.length && boxes.every((box, i) => rows[i]?.dataset['node'] === box.name);
    if (!isSame) this.body.replaceChildren(...boxes.map((box) => this.row(box)));
    for (const [i, box] of boxes.entries()) this.fill(this.body.children[i] as HTMLTableRowElement, box, state);
  }

  setFilter(filter: State | null): void {
    this.filter = filter;
    if (this.last !== null) this.update(this.last.state, this.last.plan);
  }

  private row(box: Box): HTMLTableRowElement {
    const open = h('button', { type: 'button', class: 'tlk-link' }, box.label);
    open.addEventListener('click', () => this.select(box.name));
    const cells = TITLES.slice(1).map(() => h('td'));
    return h('tr', { 'data-node': box.name }, h('th', { scope: 'row' }, open), ...cells);
  }

  private fill(row: HTMLTableRowElement, box: Box, state: PanelState): void {
    const standing = state.nodes[box.name];
    const takes = state.graph.edges.filter((edge) => edge.target === box.name);
    const sources = takes.map(
      (edge) =>
        `${oneLine(edge.source, 40)}${edge.into ? ` as ${edge.into}` : ''}${edge.routed ? ' (when routed)' : ''}`,
    );
    const words = [
      box.node.kind,
      box.state === null ? '' : box.status,
      box.numbers || (standing?.total === 1 ? '1' : ''),
      state.run === null || standing === undefined ? '' : String(standing.outputs),
      box.time || (standing && standing.seconds > 0 ? duration(standing.seconds) : ''),
      box.name === state.graph.start ? "the run's inputs" : sources.join(', '),
    ];
    for (const [i, text] of words.entries()) setText(row.cells[i + 1] as HTMLTableCellElement, text);
    setAttribute(row, 'data-state', box.state);
    row.hidden = this.filter !== null && !hasState(standing, this.filter);
  }
}
