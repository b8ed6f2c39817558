/** The first lines of a panel: what runs, how far it is, counts that filter, what can be done, which view. */

import { copy, h, isBlocked, setAttribute, setObstacle, setText } from './dom';
import type { Action, PanelState, State } from './messages';
import { paceWords, progressWords, tallies } from './viewModel';
import { count, duration, GLYPHS, oneLine, plain, RUN_GLYPHS } from './words';

export type View = 'graph' | 'table' | 'timeline';

export interface HeadlineOptions {
  readonly signal: AbortSignal;
  act(action: Action): void;
  filter(state: State | null): void;
  view(view: View): void;
  /** Why no request can be answered now; null if they can. */
  obstacle(): string | null;
  connect(): void;
}

const BUTTONS: readonly { readonly action: Action; readonly label: string; readonly hint: string }[] = [
  { action: 'run', label: '▶ Run', hint: 'Run the graph' },
  { action: 'plan', label: 'Plan', hint: 'What would be replayed and computed, and about how long it takes' },
  { action: 'cancel', label: '■ Cancel', hint: 'Stop the run; finished work is kept' },
  { action: 'force', label: '■ Force', hint: 'End the workers that still compute' },
  { action: 'resume', label: '▶ Resume', hint: 'Go on: only what is missing is computed' },
  { action: 'rerunFailed', label: '↻ Rerun failed', hint: 'Compute the failed elements again' },
];

export class Headline {
  readonly element: HTMLElement;
  private readonly title = h('span', { class: 'tlk-title' });
  private readonly id = h('button', { type: 'button', class: 'tlk-id' });
  private readonly status = h('span', { class: 'tlk-run-status' });
  private readonly elapsed = h('span', { class: 'tlk-elapsed' });
  private readonly progress = h('span', { class: 'tlk-done' });
  private readonly pace = h('span', { class: 'tlk-pace' });
  private readonly counts = h('div', { class: 'tlk-counts', role: 'group', 'aria-label': 'Show only' });
  private readonly buttons = new Map<Action, HTMLButtonElement>();
  private readonly views = new Map<View, HTMLButtonElement>();
  private readonly connect = h('button', { type: 'button', class: 'tlk-button', 'data-action': 'connect' }, 'Connect');
  private state: PanelState;
  private filter: State | null = null;
  /** The kernel's clock minus this page's (s), so that elapsed time ticks between messages. */
  private skew = 0;

  constructor(
    state: PanelState,
    private readonly options: HeadlineOptions,
  ) {
    const { signal } = options;
    this.state = state;
    for (const { action, label, hint } of BUTTONS) {
      const button = h('button', { type: 'button', class: 'tlk-button', 'data-action': action }, label);
      button.addEventListener(
        'click',
        () => {
          if (!isBlocked(button)) options.act(action);
        },
        { signal },
      );
      setObstacle(button, null, hint);
      this.buttons.set(action, button);
    }
    this.connect.addEventListener('click', () => options.connect(), { signal });
    const views = h('div', { class: 'tlk-views', role: 'group', 'aria-label': 'View' });
    for (const [view, label] of [
      ['graph', 'Graph'],
      ['table', 'Table'],
      ['timeline', 'Timeline'],
    ] as const) {
      const button = h(
        'button',
        { type: 'button', class: 'tlk-view', 'data-view': view, 'aria-pressed': String(view === 'graph') },
        label,
      );
      button.addEventListener('click', () => options.view(view), { signal });
      this.views.set(view, button);
      views.append(button);
    }
    this.id.addEventListener('click', () => void this.copyId(), { signal });
    this.element = h(
      'div',
      { class: 'tlk-headline' },
      h(
        'div',
        { class: 'tlk-line' },
        h('div', { class: 'tlk-facts', role: 'status' }, this.title, this.status),
        this.id,
        this.elapsed,
        this.progress,
        this.pace,
      ),
      h(
        'div',
        { class: 'tlk-line tlk-tools' },
        this.counts,
        h('div', { class: 'tlk-actions' }, ...this.buttons.values(), this.connect),
        views,
      ),
    );
    const timer = setInterval(() => this.tick(), 1000);
    signal.addEventListener('abort', () => clearInterval(timer));
    this.update(state);
  }

  update(state: PanelState): void {
    this.state = state;
    this.skew = state.at - Date.now() / 1000;
    const { run, graph } = state;
    setText(this.title, oneLine(graph.name, 120));
    setAttribute(this.title, 'title', plain(graph.about).slice(0, 400) || null);
    this.id.hidden = run === null;
    this.elapsed.hidden = run === null;
    if (run !== null) {
      setText(this.id, run.short);
      setAttribute(this.id, 'title', `Copy the run's id: ${run.id}`);
      setAttribute(this.id, 'aria-label', `Copy the id of run ${run.short}`);
      setText(this.status, `${RUN_GLYPHS[run.status]} ${run.status}${run.doing ? ` · ${run.doing}` : ''}`);
      setAttribute(this.status, 'data-status', run.status);
    } else {
      setText(this.status, graph.problems.length ? `${GLYPHS.failed} can't run yet` : 'not run yet');
      setAttribute(this.status, 'data-status', graph.problems.length ? 'failed' : 'none');
    }
    setText(this.progress, progressWords(state));
    setText(this.pace, paceWords(state));
    this.showCounts();
    this.showButtons();
    const timeline = this.views.get('timeline');
    if (timeline) timeline.hidden = run === null;
    this.tick();
  }

  setFilter(filter: State | null): void {
    this.filter = filter;
    for (const button of this.counts.querySelectorAll('button'))
      setAttribute(button, 'aria-pressed', String(button.dataset['state'] === filter));
  }

  setView(view: View): void {
    for (const [name, button] of this.views) setAttribute(button, 'aria-pressed', String(name === view));
  }

  private showCounts(): void {
    const wanted = tallies(this.state);
    const old = new Map([...this.counts.querySelectorAll('button')].map((button) => [button.dataset['state'], button]));
    const shown = wanted.map(({ state, n }) => {
      const button = old.get(state) ?? this.countButton(state);
      setText(button, `${GLYPHS[state]} ${count(n)} ${state}`);
      return button;
    });
    const isSame =
      shown.length === this.counts.children.length && shown.every((button, i) => this.counts.children[i] === button);
    if (isSame) return;
    const focused = shown.find((button) => button === document.activeElement);
    this.counts.replaceChildren(...shown);
    focused?.focus(); // moving an element takes the focus away
    if (this.filter !== null && !wanted.some(({ state }) => state === this.filter)) this.options.filter(null);
  }

  private countButton(state: State): HTMLButtonElement {
    const button = h('button', {
      type: 'button',
      class: 'tlk-count',
      'data-state': state,
      'aria-pressed': String(this.filter === state),
    });
    button.addEventListener('click', () => this.options.filter(this.filter === state ? null : state), {
      signal: this.options.signal,
    });
    return button;
  }

  /** Disabled with the reason, never hidden: but what belongs to a graph isn't shown for a run, and the other way round. */
  private showButtons(): void {
    const obstacle = this.options.obstacle();
    const isRunning = this.state.run?.status === 'running';
    for (const { action, hint } of BUTTONS) {
      const button = this.buttons.get(action);
      if (!button) continue;
      const ofGraph = action === 'run' || action === 'plan';
      button.hidden =
        (ofGraph && isRunning) ||
        (!ofGraph && this.state.run === null) ||
        (action === 'force' && this.state.actions.force !== null) ||
        (action === 'cancel' && this.state.actions.force === null);
      const isCancel = action === 'cancel' || action === 'force';
      setObstacle(button, this.state.actions[action] ?? (isCancel ? null : obstacle), hint);
    }
  }

  /** A click removes the obstacle, if a click can. */
  setConnectable(isConnectable: boolean): void {
    this.connect.hidden = !isConnectable;
    setAttribute(
      this.connect,
      'title',
      isConnectable ? `${this.options.obstacle() ?? ''}: import tensorlake_nb in this kernel` : null,
    );
  }

  private tick(): void {
    const run = this.state.run;
    if (run === null) return;
    const now = run.endedAt ?? (run.status === 'running' ? Date.now() / 1000 + this.skew : this.state.at);
    setText(this.elapsed, duration(now - run.startedAt));
  }

  private async copyId(): Promise<void> {
    const run = this.state.run;
    if (run === null) return;
    const isCopied = await copy(run.id);
    setText(this.id, isCopied ? 'copied' : run.id);
    setTimeout(() => setText(this.id, this.state.run?.short ?? ''), 1500);
  }
}
