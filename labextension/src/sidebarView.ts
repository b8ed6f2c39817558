/** The sidebar's contents: the kernel's graphs, the store's runs, and two runs side by side. Pure view. */

import { diffView } from './diffView';
import { h, setText } from './dom';
import type { Comparison, GraphSummary, NodeNumbers, RunSummary } from './messages';
import { bounded, clock, count, duration, GLYPHS, oneLine, RUN_GLYPHS } from './words';

export const GRAPH_GLYPHS: Readonly<Record<GraphSummary['state'], string>> = {
  fresh: GLYPHS.computed,
  stale: GLYPHS.stale,
  failed: GLYPHS.failed,
  running: GLYPHS.running,
  new: GLYPHS.waiting,
};

export interface SidebarActions {
  openRun(run: RunSummary): void;
  openGraph(graph: GraphSummary): void;
  resume(run: RunSummary): void;
  compare(left: string, right: string): void;
  connect(): void;
  refresh(): void;
}

export class SidebarView {
  readonly element: HTMLElement;
  private readonly note = h('p', { class: 'tlk-sidebar-note', role: 'status' });
  private readonly connect = h('button', { type: 'button' }, 'Connect');
  private readonly filter = h('input', {
    type: 'search',
    class: 'tlk-sidebar-filter',
    placeholder: 'Filter runs',
    'aria-label': 'Filter runs',
  });
  private readonly compare = h('button', { type: 'button', 'data-action': 'compare' }, 'Compare');
  private readonly graphs = h('ul', { class: 'tlk-graph-list' });
  private readonly runs = h('ul', { class: 'tlk-run-list' });
  private readonly chosen = new Set<string>();
  private found: readonly RunSummary[] = [];
  private drawn = '';

  constructor(private readonly actions: SidebarActions) {
    const refresh = h('button', { type: 'button', title: 'Look again', 'aria-label': 'Look again' }, '↻');
    refresh.addEventListener('click', () => actions.refresh());
    this.connect.addEventListener('click', () => actions.connect());
    this.filter.addEventListener('input', () => this.drawRuns());
    this.compare.addEventListener('click', () => {
      const [left, right] = this.inOrder();
      if (left !== undefined && right !== undefined) actions.compare(left, right);
    });
    this.element = h(
      'div',
      { class: 'tlk-sidebar-body' },
      this.note,
      this.connect,
      h('h2', {}, 'Graphs'),
      this.graphs,
      h('h2', {}, 'Runs'),
      h('div', { class: 'tlk-sidebar-tools' }, this.filter, this.compare, refresh),
      this.runs,
    );
    this.explain('No notebook is open.', false);
    this.showCompare();
  }

  /** Say why there is nothing, and whether a click can change that. */
  explain(message: string | null, isConnectable: boolean): void {
    setText(this.note, message ?? '');
    this.note.hidden = message === null;
    this.connect.hidden = !isConnectable;
    if (message !== null && isConnectable) this.update([], []);
  }

  update(graphs: readonly GraphSummary[], runs: readonly RunSummary[]): void {
    const key = JSON.stringify([graphs, runs]);
    if (key === this.drawn) return;
    this.drawn = key;
    this.found = runs;
    this.graphs.replaceChildren(
      ...(graphs.length
        ? graphs.map((graph) => this.graphRow(graph))
        : [h('li', { class: 'tlk-empty' }, 'none in this kernel')]),
    );
    for (const id of this.chosen) if (!runs.some((run) => run.id === id)) this.chosen.delete(id);
    this.drawRuns();
  }

  private drawRuns(): void {
    const wanted = this.filter.value.trim().toLowerCase();
    const shown = this.found.filter((run) =>
      `${run.graph} ${run.status} ${run.id} ${run.inputs}`.toLowerCase().includes(wanted),
    );
    const now = Date.now() / 1000;
    this.runs.replaceChildren(
      ...(shown.length
        ? shown.map((run) => this.runRow(run, now))
        : [h('li', { class: 'tlk-empty' }, this.found.length ? 'none like this' : 'none in this store')]),
    );
    this.showCompare();
  }

  private graphRow(graph: GraphSummary): HTMLElement {
    const open = h('button', { type: 'button', class: 'tlk-row-title' }, oneLine(graph.name, 60));
    open.addEventListener('click', () => this.actions.openGraph(graph));
    const words = graph.stale.length
      ? `stale: ${graph.stale.map((name) => oneLine(name, 30)).join(', ')}`
      : graph.functions.map((name) => oneLine(name, 30)).join(', ');
    return h(
      'li',
      { class: 'tlk-graph-row', 'data-graph': graph.key, 'data-state': graph.state },
      open,
      h(
        'span',
        { class: 'tlk-row-state' },
        `${GRAPH_GLYPHS[graph.state]} ${graph.problems.length ? "can't run yet" : graph.state}`,
      ),
      h('div', { class: 'tlk-row-words' }, oneLine(words, 200)),
    );
  }

  private runRow(run: RunSummary, now: number): HTMLElement {
    const box = h('input', { type: 'checkbox', 'aria-label': `Choose run ${run.short} to compare` });
    box.checked = this.chosen.has(run.id);
    box.addEventListener('change', () => {
      if (box.checked) this.chosen.add(run.id);
      else this.chosen.delete(run.id);
      this.showCompare();
    });
    const open = h(
      'button',
      { type: 'button', class: 'tlk-row-title', title: 'Open its panel' },
      `${oneLine(run.graph, 40)} ${run.short}`,
    );
    open.addEventListener('click', () => this.actions.openRun(run));
    const resume = h('button', { type: 'button', 'data-action': 'resume' }, 'Resume');
    resume.addEventListener('click', () => this.actions.resume(run));
    const took =
      run.endedAt === null
        ? run.status === 'running'
          ? duration(now - run.startedAt)
          : ''
        : duration(run.endedAt - run.startedAt);
    const numbers = [
      run.computed ? `${count(run.computed)} computed` : '',
      run.replayed ? `${count(run.replayed)} replayed` : '',
      run.failed ? `${count(run.failed)} failed` : '',
    ];
    const words = [clock(run.startedAt, now), took, ...numbers, run.isElsewhere ? 'in another kernel' : '']
      .filter(Boolean)
      .join(' · ');
    const canResume = ['failed', 'cancelled', 'interrupted'].includes(run.status);
    return h(
      'li',
      { class: 'tlk-run-row', 'data-run': run.id, 'data-status': run.status },
      box,
      open,
      h('span', { class: 'tlk-row-state' }, `${RUN_GLYPHS[run.status]} ${run.status}`),
      canResume ? resume : null,
      h('div', { class: 'tlk-row-words' }, words),
      run.inputs ? h('div', { class: 'tlk-row-words' }, oneLine(run.inputs, 160)) : null,
      run.error ? h('div', { class: 'tlk-row-words' }, `✕ ${oneLine(run.error, 160)}`) : null,
    );
  }

  /** The two chosen ones, the older one left. */
  private inOrder(): readonly string[] {
    return [...this.chosen].sort();
  }

  private showCompare(): void {
    const isReady = this.chosen.size === 2;
    this.compare.setAttribute('aria-disabled', String(!isReady));
    this.compare.title = isReady ? 'Put the two side by side' : 'Choose two runs';
  }
}

/** Two runs side by side. */
export function comparisonView(found: Comparison): HTMLElement {
  const numbers = (each: NodeNumbers | null): string =>
    each === null
      ? 'not there'
      : [
          each.computed ? `${count(each.computed)} computed` : '',
          each.replayed ? `${count(each.replayed)} replayed` : '',
          each.failed ? `${count(each.failed)} failed` : '',
          `${count(each.outputs)} out`,
          each.seconds >= 0.001 ? duration(each.seconds) : '',
        ]
          .filter(Boolean)
          .join(' · ');
  const title = (run: RunSummary): string => `${run.short} · ${RUN_GLYPHS[run.status]} ${run.status}`;
  const took = (run: RunSummary): string => (run.endedAt === null ? '' : duration(run.endedAt - run.startedAt));
  const rows: (readonly [string, string, string])[] = [
    ['started', clock(found.left.startedAt, 0), clock(found.right.startedAt, 0)],
    ['took', took(found.left), took(found.right)],
    ...found.inputs.map((each) => [`input ${each.name}`, each.left ?? 'not given', each.right ?? 'not given'] as const),
    ...found.nodes.map((each) => [each.node, numbers(each.left), numbers(each.right)] as const),
  ];
  const changed = found.nodes.filter((each) => each.changes.length);
  return h(
    'section',
    { class: 'tlk-comparison', 'aria-label': 'Two runs side by side', tabindex: 0 },
    h('h2', {}, `Runs of ${oneLine(found.left.graph, 60)}`),
    h(
      'table',
      {},
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          h('th', { scope: 'col' }, ''),
          h('th', { scope: 'col' }, title(found.left)),
          h('th', { scope: 'col' }, title(found.right)),
        ),
      ),
      h(
        'tbody',
        {},
        ...rows.map(([name, left, right]) =>
          h(
            'tr',
            { 'data-differs': left === right ? null : 'true' },
            h('th', { scope: 'row' }, oneLine(name, 60)),
            h('td', {}, oneLine(left, 200)),
            h('td', {}, oneLine(right, 200)),
          ),
        ),
      ),
    ),
    h('h3', {}, changed.length ? 'What changed in the code' : 'The code is the same.'),
    ...changed.flatMap((each) => [h('h4', {}, bounded(each.node, 100)), ...each.changes.slice(0, 10).map(diffView)]),
  );
}
