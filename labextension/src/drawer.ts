/** Everything about one node, beside the graph: what failed, what it gave, why it ran, what it said. */

import { diffView } from './diffView';
import { copy, h, isBlocked, setAttribute, setObstacle, setText } from './dom';
import { ElementList } from './elementList';
import type {
  Action,
  ElementFilter,
  FailureDetail,
  NodeDetail,
  PanelState,
  Replies,
  Request,
  RequestKind,
  Standing,
} from './messages';
import { Pager } from './pager';
import { hasNotebook, type Pane, type PaneContext, tell } from './panes';
import { MOST_NOTES } from './viewModel';
import { bounded, count, duration, GLYPHS, oneLine, plain, plural } from './words';

const AFRESH_MS = 1_000;
const MOST_TRACEBACK = 20_000;

export function createDrawer(context: PaneContext, node: string, filter: ElementFilter = 'all'): Pane {
  return new Drawer(context, node, filter);
}

class Drawer implements Pane {
  readonly element: HTMLElement;
  private readonly gone = new AbortController();
  private readonly state = h('span', { class: 'tlk-drawer-state' });
  private readonly buttons: readonly {
    readonly action: Action;
    readonly element: HTMLButtonElement;
    readonly hint: string;
  }[];
  private readonly jump = h('button', { type: 'button', class: 'tlk-button' }, 'Go to its cell');
  private readonly facts = h('dl', { class: 'tlk-node-facts' });
  private readonly failures = section('failures', 'Failed');
  private readonly why = section('why', 'Why it ran');
  private readonly outputs = section('outputs', 'Outputs');
  private readonly inputs = section('inputs', 'Inputs');
  private readonly elements = section('elements', 'Elements');
  private readonly logs = section('logs', 'Output and logs');
  private readonly more = section('more', 'More');
  private readonly outputPager: Pager;
  private readonly inputPager: Pager;
  private list: ElementList | null = null;
  private filter: ElementFilter;
  private detail: NodeDetail | null = null;
  private runId: string | null = null;
  private stamp = '';
  private timer: ReturnType<typeof setTimeout> | null = null;
  private loadedAt = 0;
  private nextLog = 0;
  private shownFailures = '';

  constructor(
    private readonly context: PaneContext,
    private readonly node: string,
    filter: ElementFilter,
  ) {
    this.filter = filter;
    const { signal } = this.gone;
    const close = h(
      'button',
      { type: 'button', class: 'tlk-close', 'aria-label': 'Close details', title: 'Close (Esc)' },
      '✕',
    );
    close.addEventListener('click', () => context.select(null), { signal });
    const button = (action: Action, label: string, hint: string) => {
      const element = h('button', { type: 'button', class: 'tlk-button', 'data-action': action }, label);
      element.addEventListener(
        'click',
        () => {
          if (!isBlocked(element)) context.act(action, node);
        },
        { signal },
      );
      return { action, element, hint };
    };
    this.buttons = [
      button('refresh', '↻ Refresh', 'Compute this node again; what follows only where its outputs differ'),
      button('again', '↻ From here', 'Compute this node and all that follows again'),
    ];
    this.jump.addEventListener('click', () => this.goToCell(), { signal });
    const shape = context.state().graph.nodes.find((each) => each.name === node);
    this.outputPager = new Pager(context, node, 'output', signal);
    this.inputPager = new Pager(context, node, 'input', signal);
    this.outputs.body.append(this.outputPager.element);
    this.inputs.body.append(this.inputPager.element);
    this.element = h(
      'section',
      { class: 'tlk-drawer', 'data-node': node, 'aria-label': `Details of ${oneLine(node, 80)}` },
      h('header', { class: 'tlk-drawer-head' }, h('h3', {}, oneLine(node, 80)), this.state, close),
      shape?.about ? h('p', { class: 'tlk-node-about' }, bounded(shape.about, 1000)) : null,
      h('div', { class: 'tlk-actions' }, ...this.buttons.map(({ element }) => element), this.jump),
      this.facts,
      this.failures.element,
      this.outputs.element,
      this.why.element,
      this.elements.element,
      this.inputs.element,
      this.logs.element,
      this.more.element,
    );
    this.logs.body.append(h('pre', { class: 'tlk-logs', tabindex: 0, 'aria-label': 'Output and logs' }));
    this.logs.onOpen(() => void this.loadLogs());
    this.elements.onOpen(() => this.showElements());
    this.inputs.onOpen(() => this.inputPager.open());
  }

  update(state: PanelState): void {
    const standing = state.nodes[this.node];
    const runId = state.run?.id ?? null;
    setText(this.state, standing ? `${GLYPHS[standing.state]} ${standing.state}` : '');
    setAttribute(this.state, 'data-state', standing?.state ?? null);
    for (const { action, element, hint } of this.buttons) {
      element.hidden = runId === null;
      setObstacle(element, state.actions[action] ?? this.context.channel.obstacle, hint);
    }
    setObstacle(
      this.jump,
      hasNotebook() ? null : 'This needs the JupyterLab extension of tensorlake_nb.',
      'Go to the cell that defines it',
    );
    this.showFacts(state, standing);
    for (const each of [this.failures, this.outputs, this.why, this.elements, this.inputs, this.logs])
      each.element.hidden = runId === null;
    if (runId === null) {
      this.showStale(standing);
      return;
    }
    if (runId !== this.runId) this.reset(runId);
    this.list?.update(state);
    const stamp = JSON.stringify([
      standing?.counts,
      standing?.outputs,
      standing?.state,
      this.context.channel.obstacle === null,
    ]);
    if (stamp === this.stamp) return;
    this.stamp = stamp;
    this.schedule();
  }

  dispose(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.list?.dispose();
    this.gone.abort();
  }

  private reset(runId: string): void {
    this.runId = runId;
    this.stamp = '';
    this.nextLog = 0;
    this.detail = null;
    this.shownFailures = '';
    this.logs.body.querySelector('pre')?.replaceChildren();
    this.list?.dispose();
    this.list = null;
    if (this.elements.isOpen) this.showElements();
    this.outputPager.reset();
    this.inputPager.reset();
  }

  /** At most once a second, however often the numbers change. */
  private schedule(): void {
    if (this.timer !== null) return;
    const wait = this.detail === null ? 0 : Math.max(0, AFRESH_MS - (Date.now() - this.loadedAt));
    this.timer = setTimeout(() => {
      this.timer = null;
      void this.load();
    }, wait);
  }

  private ask<K extends RequestKind>(request: Extract<Request, { kind: K }>): Promise<Replies[K]> {
    return this.context.channel.ask<K>(request, this.gone.signal);
  }

  private async load(): Promise<void> {
    const run = this.runId;
    if (run === null) return;
    this.loadedAt = Date.now();
    try {
      const [detail, why] = await Promise.all([
        this.ask<'node'>({ kind: 'node', run, node: this.node }),
        this.ask<'why'>({ kind: 'why', run, node: this.node }),
      ]);
      if (run !== this.runId) return;
      this.detail = detail;
      this.showFailures(detail);
      this.outputPager.setTotal(detail.outputs);
      this.inputPager.setTotal(detail.inputs);
      setText(this.outputs.note, count(detail.outputs));
      setText(this.inputs.note, count(detail.inputs));
      setText(this.logs.note, detail.logLines ? plural(detail.logLines, 'line') : 'none');
      this.showWhy(why);
      this.showMore(detail);
      if (this.logs.isOpen) void this.loadLogs();
    } catch (error) {
      if (this.gone.signal.aborted) return;
      const message = error instanceof Error ? error.message : String(error);
      if (this.detail === null) this.outputPager.explain(message);
    }
  }

  private showFacts(state: PanelState, standing: Standing | undefined): void {
    const facts: [string, string][] = [];
    if (standing !== undefined && state.run !== null) {
      if (standing.startedAt !== null) {
        const end = standing.endedAt ?? state.at;
        facts.push(['took', duration(end - standing.startedAt)]);
        facts.push(['in calls', duration(standing.seconds)]);
        if (standing.queuedSeconds >= 0.05) facts.push(['queued', duration(standing.queuedSeconds)]);
      }
      if (standing.retries) facts.push(['retries', count(standing.retries)]);
      if (standing.savedBy || standing.savedSeconds >= 0.001)
        facts.push([
          'replayed',
          [
            standing.savedBy ? `from run ${standing.savedBy}` : '',
            standing.savedSeconds >= 0.001 ? `saved ${duration(standing.savedSeconds)}` : '',
          ]
            .filter(Boolean)
            .join(', '),
        ]);
      if (standing.progress)
        facts.push(['this call', `${count(standing.progress.current)} of ${count(standing.progress.total)}`]);
      for (const note of standing.notes.slice(0, MOST_NOTES)) facts.push(['note', note]);
    }
    const key = JSON.stringify(facts);
    if (this.facts.dataset['key'] === key) return;
    this.facts.dataset['key'] = key;
    this.facts.replaceChildren(
      ...facts.flatMap(([name, text]) => [h('dt', {}, name), h('dd', {}, oneLine(text, 300))]),
    );
  }

  private showStale(standing: Standing | undefined): void {
    this.why.element.hidden = !standing?.stale;
    if (standing?.stale) {
      setText(this.why.title, 'Why it is stale');
      this.why.body.replaceChildren(h('p', {}, bounded(standing.stale, 2000)));
      this.why.open();
    }
  }

  private showFailures(detail: NodeDetail): void {
    this.failures.element.hidden = detail.nFailed === 0;
    const key = JSON.stringify([detail.nFailed, detail.failures.map((each) => each.index)]);
    if (key === this.shownFailures) return;
    this.shownFailures = key;
    setText(this.failures.note, count(detail.nFailed));
    this.failures.body.replaceChildren(
      ...detail.failures.map(failureView),
      ...(detail.nFailed > detail.failures.length
        ? [h('p', {}, `and ${count(detail.nFailed - detail.failures.length)} more: see the elements`)]
        : []),
    );
    if (detail.nFailed) this.failures.open();
  }

  private showWhy(why: Replies['why']): void {
    setText(this.why.title, 'Why');
    const cause = why.cause;
    const link =
      cause !== null && cause !== this.node
        ? h('button', { type: 'button', class: 'tlk-link' }, `Show ${oneLine(cause, 60)}`)
        : null;
    link?.addEventListener('click', () => this.context.select(cause), { signal: this.gone.signal });
    const key = JSON.stringify(why);
    if (this.why.body.dataset['key'] === key) return;
    this.why.body.dataset['key'] = key;
    this.why.body.replaceChildren(
      h('p', {}, bounded(why.summary, 2000)),
      ...(link ? [link] : []),
      ...why.changes.slice(0, 20).map(diffView),
      ...why.opaque.slice(0, 10).map((each) => h('p', { class: 'tlk-note' }, `not seen: ${oneLine(each, 300)}`)),
    );
    this.why.open();
  }

  private showElements(): void {
    if (this.list === null) {
      const filters = (['all', 'failed', 'running', 'waiting', 'computed', 'replayed'] as const).map((name) => {
        const button = h(
          'button',
          { type: 'button', class: 'tlk-filter', 'aria-pressed': String(name === this.filter) },
          name,
        );
        button.addEventListener(
          'click',
          () => {
            this.filter = name;
            this.list?.dispose();
            this.list = null;
            this.showElements();
            (this.elements.body.querySelector('.tlk-filter[aria-pressed=true]') as HTMLElement | null)?.focus();
          },
          { signal: this.gone.signal },
        );
        return button;
      });
      this.list = new ElementList(this.context, this.node, this.filter, (row) => {
        if (row.output !== null) this.outputPager.go(row.output);
        else this.inputPager.go(row.index);
        (row.output !== null ? this.outputs : this.inputs).open();
      });
      this.elements.body.replaceChildren(
        h('div', { class: 'tlk-filters', role: 'group', 'aria-label': 'Which elements' }, ...filters),
        this.list.element,
      );
      this.list.update(this.context.state());
    }
  }

  private async loadLogs(): Promise<void> {
    const pre = this.logs.body.querySelector('pre');
    if (this.runId === null || pre === null) return;
    try {
      const page = await this.ask<'logs'>({ kind: 'logs', run: this.runId, node: this.node, after: this.nextLog });
      this.nextLog = page.next;
      const isAtEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 8;
      for (const { stream, text } of page.lines)
        pre.append(
          h(
            'span',
            { class: 'tlk-log', 'data-stream': stream },
            `${stream === 'stdout' ? '' : `${stream}: `}${bounded(text, 4000)}${text.endsWith('\n') ? '' : '\n'}`,
          ),
        );
      while (pre.childElementCount > 2000) pre.firstElementChild?.remove();
      if (isAtEnd) pre.scrollTop = pre.scrollHeight; // follow, unless somebody reads further up
    } catch (error) {
      if (!this.gone.signal.aborted && pre.childElementCount === 0)
        setText(pre, error instanceof Error ? error.message : String(error));
    }
  }

  private showMore(detail: NodeDetail): void {
    const options = this.context.state().graph.nodes.find((each) => each.name === this.node)?.options ?? {};
    const rows: [string, string][] = [
      ...Object.entries(options),
      ...Object.entries(detail.timers).map(([name, seconds]): [string, string] => [`timer ${name}`, duration(seconds)]),
      ...Object.entries(detail.counters).map(([name, n]): [string, string] => [`counter ${name}`, count(n)]),
    ];
    const insert = h('button', { type: 'button', class: 'tlk-button' }, 'All outputs in a cell');
    insert.addEventListener('click', () => void this.insert(detail.snippet, insert), { signal: this.gone.signal });
    const key = JSON.stringify([rows, detail.snippet]);
    if (this.more.body.dataset['key'] === key) return;
    this.more.body.dataset['key'] = key;
    this.more.body.replaceChildren(
      h(
        'dl',
        { class: 'tlk-node-facts' },
        ...rows.flatMap(([name, text]) => [h('dt', {}, oneLine(name, 60)), h('dd', {}, oneLine(text, 200))]),
      ),
      insert,
    );
  }

  private async insert(code: string, button: HTMLElement): Promise<void> {
    if (tell(this.element, 'insert', { code })) return;
    setText(button, (await copy(code)) ? 'Copied' : code);
  }

  private goToCell(): void {
    if (isBlocked(this.jump)) return;
    const { definedAs = this.node, source = '' } = this.detail ?? {};
    if (!tell(this.element, 'jump', { definedAs, source })) this.context.announce('Its cell is not in this notebook.');
  }
}

function failureView(failure: FailureDetail): HTMLElement {
  const attempts = failure.attempts > 1 ? ` · ${plural(failure.attempts, 'attempt')}` : '';
  const kind = failure.kind === 'error' ? '' : `${failure.kind} · `;
  return h(
    'article',
    { class: 'tlk-failure' },
    h('div', { class: 'tlk-failure-error' }, `✕ ${bounded(failure.error, 2000)}`),
    h(
      'div',
      { class: 'tlk-note' },
      `${kind}element ${count(failure.index)}${attempts} · given ${oneLine(failure.input, 300)}`,
    ),
    failure.userTraceback
      ? h('pre', { class: 'tlk-traceback', tabindex: 0 }, bounded(failure.userTraceback, MOST_TRACEBACK))
      : null,
    failure.traceback && plain(failure.traceback) !== plain(failure.userTraceback)
      ? h(
          'details',
          {},
          h('summary', {}, 'Whole traceback'),
          h('pre', { class: 'tlk-traceback', tabindex: 0 }, bounded(failure.traceback, MOST_TRACEBACK)),
        )
      : null,
  );
}

interface Section {
  readonly element: HTMLDetailsElement;
  readonly title: HTMLElement;
  readonly note: HTMLElement;
  readonly body: HTMLElement;
  readonly isOpen: boolean;
  open(): void;
  onOpen(act: () => void): void;
}

function section(name: string, words: string): Section {
  const title = h('span', {}, words);
  const note = h('span', { class: 'tlk-section-note' });
  const body = h('div', { class: 'tlk-section-body' });
  const element = h('details', { class: 'tlk-section', 'data-section': name }, h('summary', {}, title, note), body);
  element.open = name === 'outputs';
  let isSet = name === 'outputs'; // what a person closed stays closed
  element.querySelector('summary')?.addEventListener('click', () => (isSet = true));
  return {
    element,
    title,
    note,
    body,
    get isOpen() {
      return element.open;
    },
    open() {
      if (!isSet) element.open = true;
      isSet = true;
    },
    onOpen(act) {
      element.addEventListener('toggle', () => {
        if (element.open) act();
      });
    },
  };
}
