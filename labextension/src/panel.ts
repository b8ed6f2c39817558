/** A panel: headline, graph, table or timeline, and details beside it. It keeps what is looked at; the kernel the rest. */

import { h, setAttribute, setText } from './dom';
import { createDrawer } from './drawer';
import { GraphView } from './graphView';
import { Headline, type View } from './headline';
import { createInputForm } from './inputForm';
import {
  type Action,
  applyDelta,
  type Delta,
  type ElementFilter,
  type PanelState,
  type Plan,
  parseState,
  type State,
} from './messages';
import type { Channel, Pane, PaneContext } from './panes';
import { TableView } from './tableView';
import { createTimeline } from './timeline';
import { endWords, firstFailure } from './viewModel';
import { oneLine, plain } from './words';

export interface PanelHost {
  readonly channel: Channel;
  /** Aborts when the panel is taken off the page. */
  readonly signal: AbortSignal;
  /** Which view to begin with. */
  readonly view?: View;
  /** The panel shows something that a click began or asked for: whoever keeps it live is told. */
  shown?(state: PanelState): void;
}

export class Panel {
  private readonly body = h('div', { class: 'tlk-body' });
  private readonly main = h('div', { class: 'tlk-main' });
  private readonly problems = h('ul', { class: 'tlk-problems' });
  private readonly error = h('div', { class: 'tlk-error-line', role: 'alert' });
  private readonly live = h('div', { class: 'tlk-live', 'aria-live': 'polite' });
  private readonly lost = h('div', { class: 'tlk-lost' });
  private readonly context: PaneContext;
  private readonly headline: Headline;
  private readonly graph: GraphView;
  private readonly table: TableView;
  private timeline: Pane | null = null;
  private drawer: Pane | null = null;
  private form: Pane | null = null;
  private plan: Plan | null = null;
  private selected: string | null = null;
  private failureShown: string | null = null;
  private view: View;

  constructor(
    private readonly root: HTMLElement,
    private state: PanelState,
    private readonly host: PanelHost,
  ) {
    const { signal, channel } = host;
    this.view = host.view ?? 'graph';
    this.context = {
      channel,
      signal,
      state: () => this.state,
      act: (action, node) => void this.act(action, node),
      show: (next) => this.show(next),
      plan: (found) => this.showPlan(found),
      select: (node, filter) => this.select(node, filter),
      announce: (text) => setText(this.live, plain(text)),
    };
    this.headline = new Headline(state, {
      signal,
      act: (action) => void this.act(action),
      filter: (filter) => this.filter(filter),
      view: (view) => this.setView(view),
      obstacle: () => channel.obstacle,
      connect: () => void this.connect(),
    });
    this.graph = new GraphView({ signal, select: (node) => this.select(node === this.selected ? null : node) });
    this.table = new TableView((node) => this.select(node));
    this.body.append(this.main);
    root.classList.add('tlk-panel');
    root.replaceChildren(this.headline.element, this.problems, this.error, this.lost, this.body, this.live);
    // Keys pressed here are this panel's: without this, d pressed twice deletes the notebook's cell.
    root.addEventListener('keydown', (event) => this.onKey(event), { signal });
    root.addEventListener('keyup', (event) => event.stopPropagation(), { signal });
    channel.onObstacle(() => this.refresh(), signal);
    signal.addEventListener('abort', () => this.dispose());
    this.setView(this.view);
    this.refresh();
    this.lookAtFailure(null);
  }

  update(state: PanelState): void {
    const before = this.state;
    this.state = state;
    if (before.run?.id !== state.run?.id) this.plan = null;
    this.refresh();
    this.lookAtFailure(before);
    if (before.run?.status === 'running' && state.run?.status !== 'running') this.context.announce(endWords(state));
  }

  applyDelta(delta: Delta): void {
    this.update(applyDelta(this.state, delta));
  }

  /** One line instead of everything: what came can't be shown. */
  fail(message: string): void {
    this.root.replaceChildren(h('div', { class: 'tlk-error-line', role: 'alert' }, plain(message)));
  }

  private refresh(): void {
    const { state } = this;
    const { channel } = this.host;
    setAttribute(this.root, 'data-status', state.run?.status ?? 'none');
    setAttribute(this.root, 'data-run', state.run?.id ?? null);
    this.headline.update(state);
    this.headline.setConnectable(channel.obstacle !== null && channel.connect !== null);
    setText(this.lost, channel.obstacle ?? '');
    this.lost.hidden = channel.obstacle === null;
    this.showProblems();
    this.showForm();
    if (this.view === 'graph') this.graph.update(state, this.plan);
    if (this.view === 'table') this.table.update(state, this.plan);
    this.timeline?.update(state);
    if (this.selected !== null && !state.graph.nodes.some((node) => node.name === this.selected)) this.select(null);
    this.drawer?.update(state);
  }

  private showProblems(): void {
    const { graph, run } = this.state;
    const found = run?.error && run.status !== 'running' ? [...graph.problems, run.error] : graph.problems;
    const lines = found.map((problem) => `✕ ${oneLine(problem, 600)}`);
    if (lines.join('\n') === [...this.problems.children].map((line) => line.textContent).join('\n')) return;
    this.problems.replaceChildren(...lines.map((line) => h('li', {}, line)));
  }

  /** The inputs stand above the graph where no run is shown. */
  private showForm(): void {
    const isWanted = this.state.run === null && this.state.form !== null;
    if (isWanted && this.form === null) {
      const made = createInputForm(this.context);
      this.root.insertBefore(made.element, this.body);
      this.form = made;
    } else if (!isWanted && this.form !== null) {
      this.form.dispose();
      this.form.element.remove();
      this.form = null;
    }
    this.form?.update(this.state);
  }

  private setView(view: View): void {
    this.view = view;
    this.headline.setView(view);
    if (view !== 'timeline') {
      this.timeline?.dispose();
      this.timeline = null;
    }
    if (view === 'timeline') {
      this.timeline ??= createTimeline(this.context);
      const timeline = this.timeline;
      this.main.replaceChildren(timeline.element);
      timeline.update(this.state);
    } else if (view === 'table') {
      this.main.replaceChildren(this.table.element);
      this.table.update(this.state, this.plan);
    } else {
      this.main.replaceChildren(this.graph.element);
      this.graph.update(this.state, this.plan);
    }
  }

  private filter(filter: State | null): void {
    this.headline.setFilter(filter);
    this.graph.setFilter(filter);
    this.table.setFilter(filter);
  }

  private select(node: string | null, filter: ElementFilter = 'all'): void {
    if (node === this.selected && this.drawer !== null) return;
    const hadFocus = this.drawer?.element.contains(document.activeElement) ?? false;
    const before = this.selected;
    this.drawer?.dispose();
    this.drawer?.element.remove();
    this.drawer = null;
    this.selected = node;
    this.graph.setSelected(node);
    if (node !== null && this.state.graph.nodes.some((each) => each.name === node)) {
      this.drawer = createDrawer(this.context, node, filter);
      this.body.append(this.drawer.element);
      this.drawer.update(this.state);
    } else if (hadFocus && before !== null) this.graph.focus(before);
    this.root.classList.toggle('tlk-with-drawer', this.drawer !== null);
  }

  private show(state: PanelState): void {
    this.plan = null;
    this.failureShown = null;
    this.update(state);
    this.host.shown?.(state);
  }

  private showPlan(plan: Plan | null): void {
    this.plan = plan;
    this.refresh();
  }

  /** The first failure shows itself, once, unless something else is looked at. */
  private lookAtFailure(before: PanelState | null): void {
    const run = this.state.run;
    const node = firstFailure(this.state);
    if (run === null || node === null || this.failureShown === run.id) return;
    this.failureShown = run.id;
    if (this.selected === null) this.select(node, 'failed');
    const error = this.state.nodes[node]?.error;
    if (before !== null) this.context.announce(`${oneLine(node, 80)} failed: ${oneLine(error ?? '', 200)}`);
  }

  private async act(action: Action, node?: string): Promise<void> {
    setText(this.error, '');
    const reason = this.state.actions[action];
    if (reason !== null) {
      setText(this.error, reason);
      return;
    }
    try {
      const found = await this.perform(action, node);
      if (found !== null) this.show(parseState(found));
    } catch (error) {
      if (!this.host.signal.aborted) setText(this.error, plain(error instanceof Error ? error.message : String(error)));
    }
  }

  private async perform(action: Action, node?: string): Promise<PanelState | null> {
    const { channel, signal } = this.host;
    const run = this.state.run?.id;
    switch (action) {
      case 'run':
      case 'plan':
        if (this.form === null && this.state.graphKey !== null)
          this.show(await channel.ask<'state'>({ kind: 'state', graph: this.state.graphKey }, signal));
        this.form?.element.dispatchEvent(new CustomEvent(`tlk-${action}`));
        return null;
      case 'cancel':
      case 'force':
        if (run !== undefined) await channel.ask<'cancel'>({ kind: 'cancel', run, force: action === 'force' }, signal);
        return null;
      case 'resume':
      case 'rerunFailed':
        return run === undefined ? null : channel.ask<'resume' | 'rerunFailed'>({ kind: action, run }, signal);
      case 'again':
      case 'refresh':
        return run === undefined || node === undefined
          ? null
          : channel.ask<'again' | 'refresh'>({ kind: action, run, node }, signal);
    }
  }

  private async connect(): Promise<void> {
    setText(this.error, '');
    try {
      await this.host.channel.connect?.();
      const run = this.state.run?.id;
      const key = this.state.graphKey;
      const asked =
        run !== undefined
          ? { kind: 'state' as const, run }
          : key !== null
            ? { kind: 'state' as const, graph: key }
            : null;
      if (asked === null) return;
      const state = parseState(await this.host.channel.ask<'state'>(asked, this.host.signal));
      this.update(state);
      this.host.shown?.(state);
    } catch (error) {
      setText(this.error, plain(error instanceof Error ? error.message : String(error)));
    }
  }

  private onKey(event: KeyboardEvent): void {
    if (event.key === 'Escape' && this.drawer !== null && !event.defaultPrevented) {
      this.select(null);
      event.preventDefault();
    }
    // Saving, the palette and their like are everybody's; Tab leaves as it does everywhere.
    if (event.key !== 'Tab' && !event.ctrlKey && !event.metaKey) event.stopPropagation();
  }

  private dispose(): void {
    for (const pane of [this.drawer, this.timeline, this.form]) pane?.dispose();
  }
}
