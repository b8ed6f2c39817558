/** One value of many, asked for when it is looked at: the outputs of a node, or what came to it. */

import { copy, h, isBlocked, setObstacle, setText } from './dom';
import type { ShownValue } from './messages';
import { type PaneContext, tell } from './panes';
import { valueView } from './valueView';
import { count } from './words';

export class Pager {
  readonly element: HTMLElement;
  private readonly before = h('button', { type: 'button', class: 'tlk-step', 'aria-label': 'Previous' }, '‹');
  private readonly after = h('button', { type: 'button', class: 'tlk-step', 'aria-label': 'Next' }, '›');
  private readonly number: HTMLInputElement;
  private readonly of = h('span', { class: 'tlk-of' });
  private readonly snippet = h('button', { type: 'button', class: 'tlk-button' }, 'Open in a cell');
  private readonly bar: HTMLElement;
  private readonly body = h('div', { class: 'tlk-pager-body' });
  private index = 0;
  private total = 0;
  private shown: ShownValue | null = null;
  private loading: AbortController | null = null;
  private wanted = -1;

  constructor(
    private readonly context: PaneContext,
    private readonly node: string,
    private readonly side: 'output' | 'input',
    private readonly signal: AbortSignal,
  ) {
    this.number = h('input', { type: 'number', min: 0, class: 'tlk-number', 'aria-label': `Which ${side}` });
    this.bar = h('div', { class: 'tlk-pager' }, this.before, this.number, this.of, this.after, this.snippet);
    this.element = h('div', {}, this.bar, this.body);
    this.before.addEventListener('click', () => this.step(-1), { signal });
    this.after.addEventListener('click', () => this.step(1), { signal });
    this.number.addEventListener('change', () => this.go(Number(this.number.value)), { signal });
    this.snippet.addEventListener('click', () => void this.insert(), { signal });
    this.explain(side === 'output' ? 'no output yet' : 'it received no input yet');
  }

  /** How many there are now: what is looked at stays. */
  setTotal(total: number): void {
    this.total = total;
    this.showBar();
    if (total > 0 && this.shown === null && this.isInSight()) void this.load();
    if (total === 0 && this.shown === null) this.explain(this.side === 'output' ? 'no output' : 'it received no input');
  }

  /** It came into sight. */
  open(): void {
    if (this.total > 0 && this.shown === null) void this.load();
  }

  go(index: number): void {
    if (!Number.isInteger(index)) return;
    this.index = Math.min(Math.max(index, 0), Math.max(this.total - 1, 0));
    this.showBar();
    void this.load();
  }

  reset(): void {
    this.shown = null;
    this.total = 0;
    this.index = 0;
    this.wanted = -1;
    this.explain('…');
  }

  explain(message: string): void {
    this.body.replaceChildren(h('p', { class: 'tlk-note' }, message));
    this.showBar();
  }

  private isInSight(): boolean {
    return this.element.closest('details')?.open !== false;
  }

  private step(by: number): void {
    if (!isBlocked(by < 0 ? this.before : this.after)) this.go(this.index + by);
  }

  private showBar(): void {
    this.bar.hidden = this.total === 0;
    const isOne = this.total === 1;
    for (const each of [this.before, this.number, this.of, this.after]) each.hidden = isOne;
    if (document.activeElement !== this.number) this.number.value = String(this.index);
    this.number.max = String(Math.max(this.total - 1, 0));
    setText(this.of, `of ${count(this.total)}, from 0`);
    setObstacle(this.before, this.index > 0 ? null : 'This is the first.');
    setObstacle(this.after, this.index < this.total - 1 ? null : 'This is the last.');
    this.snippet.hidden = this.shown === null;
  }

  private async load(): Promise<void> {
    const run = this.context.state().run;
    if (run === null || this.wanted === this.index) return;
    this.loading?.abort();
    const loading = new AbortController();
    this.loading = loading;
    const index = this.index;
    this.wanted = index;
    this.signal.addEventListener('abort', () => loading.abort(), { signal: loading.signal });
    try {
      const value = await this.context.channel.ask<'value'>(
        { kind: 'value', run: run.id, node: this.node, side: this.side, index },
        loading.signal,
      );
      if (loading.signal.aborted) return;
      this.shown = value;
      this.body.replaceChildren(valueView(value, this.body));
    } catch (error) {
      if (loading.signal.aborted) return;
      this.shown = null;
      const again = h('button', { type: 'button', class: 'tlk-button' }, 'Try again');
      again.addEventListener('click', () => void this.load());
      this.explain(error instanceof Error ? error.message : String(error));
      this.body.append(again);
    } finally {
      if (this.wanted === index) this.wanted = -1;
    }
    this.showBar();
  }

  private async insert(): Promise<void> {
    const code = this.shown?.snippet;
    if (code === undefined || tell(this.element, 'insert', { code })) return;
    setText(this.snippet, (await copy(code)) ? 'Copied' : code);
    setTimeout(() => setText(this.snippet, 'Open in a cell'), 2000);
  }
}
