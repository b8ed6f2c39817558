/** A node's elements, however many: rows exist for what is in sight, and are asked for in pages. */

import { h, setAttribute, setText } from './dom';
import type { ElementFilter, ElementPage, ElementRow, PanelState } from './messages';
import type { Pane, PaneContext } from './panes';
import { count, duration, GLYPHS, oneLine, plural } from './words';

export const ROW_HEIGHT = 26;
const PAGE = 100;
const SHOWN_ROWS = 10;
/** Browsers give up on taller elements (px): Firefox at 17.8 million. */
const TALLEST = 8_000_000;
const MOST_PAGES = 40;
const AFRESH_MS = 1_000;

/** Which rows are in sight, when a list may be taller than a browser's tallest element. */
export function windowAt(
  scrollTop: number,
  viewHeight: number,
  total: number,
): { readonly first: number; readonly last: number } {
  const tall = total * ROW_HEIGHT;
  const height = Math.min(tall, TALLEST);
  const rows = Math.ceil(viewHeight / ROW_HEIGHT);
  const most = Math.max(0, total - Math.floor(viewHeight / ROW_HEIGHT));
  const range = Math.max(height - viewHeight, 1);
  const first = tall <= TALLEST ? Math.floor(scrollTop / ROW_HEIGHT) : Math.round((scrollTop / range) * most);
  const from = Math.min(Math.max(first, 0), most);
  return { first: from, last: Math.min(total, from + rows + 1) };
}

/** Where to scroll so that a row comes to the top. */
export function scrollTopOf(row: number, viewHeight: number, total: number): number {
  if (total * ROW_HEIGHT <= TALLEST) return row * ROW_HEIGHT;
  const most = Math.max(1, total - Math.floor(viewHeight / ROW_HEIGHT));
  return (Math.min(row, most) / most) * (TALLEST - viewHeight);
}

export class ElementList implements Pane {
  readonly element: HTMLElement;
  private readonly scroller = h('div', {
    class: 'tlk-elements',
    role: 'listbox',
    'aria-label': 'Elements',
    tabindex: 0,
  });
  private readonly spacer = h('div', { class: 'tlk-spacer' });
  private readonly rows = h('div', { class: 'tlk-rows' });
  private readonly note = h('div', { class: 'tlk-note' });
  private readonly pages = new Map<number, readonly ElementRow[]>();
  private readonly asked = new Set<number>();
  private readonly gone = new AbortController();
  private total = 0;
  private current = 0;
  private stamp = '';
  private timer: ReturnType<typeof setTimeout> | null = null;
  private loadedAt = 0;

  constructor(
    private readonly context: PaneContext,
    private readonly node: string,
    private readonly filter: ElementFilter,
    private readonly open: (row: ElementRow) => void,
  ) {
    this.scroller.append(this.spacer, this.rows);
    this.element = h('div', {}, this.note, this.scroller);
    const { signal } = this.gone;
    this.scroller.addEventListener('scroll', () => this.draw(), { signal });
    this.scroller.addEventListener('keydown', (event) => this.onKey(event), { signal });
    this.scroller.addEventListener('click', (event) => this.onClick(event), { signal });
    void this.load(0);
  }

  update(state: PanelState): void {
    const standing = state.nodes[this.node];
    const stamp = JSON.stringify([standing?.counts, standing?.state]);
    if (stamp === this.stamp) return;
    const isFirst = this.stamp === '';
    this.stamp = stamp;
    if (isFirst || this.timer !== null) return;
    const wait = Math.max(0, AFRESH_MS - (Date.now() - this.loadedAt));
    this.timer = setTimeout(() => {
      this.timer = null;
      this.pages.clear();
      this.asked.clear();
      void this.load(this.window().first);
    }, wait);
  }

  dispose(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.gone.abort();
  }

  private window(): { readonly first: number; readonly last: number } {
    return windowAt(this.scroller.scrollTop, this.scroller.clientHeight || SHOWN_ROWS * ROW_HEIGHT, this.total);
  }

  private async load(row: number): Promise<void> {
    const run = this.context.state().run;
    const page = Math.floor(row / PAGE);
    if (run === null || this.asked.has(page)) return;
    this.asked.add(page);
    try {
      const found: ElementPage = await this.context.channel.ask<'elements'>(
        { kind: 'elements', run: run.id, node: this.node, filter: this.filter, start: page * PAGE, count: PAGE },
        this.gone.signal,
      );
      this.loadedAt = Date.now();
      this.total = found.total;
      this.pages.set(page, found.rows);
      if (this.pages.size > MOST_PAGES) this.pages.delete([...this.pages.keys()].find((each) => each !== page) ?? page);
      this.draw();
    } catch (error) {
      this.asked.delete(page);
      if (!this.gone.signal.aborted) setText(this.note, error instanceof Error ? error.message : String(error));
    }
  }

  private draw(): void {
    setText(this.note, this.total ? plural(this.total, 'element') : 'none');
    this.scroller.style.height = `${Math.min(Math.max(this.total, 1), SHOWN_ROWS) * ROW_HEIGHT + 2}px`;
    this.spacer.style.height = `${Math.min(this.total * ROW_HEIGHT, TALLEST)}px`;
    const { first, last } = this.window();
    this.rows.style.transform = `translateY(${Math.min(this.scroller.scrollTop, Math.max(0, Math.min(this.total * ROW_HEIGHT, TALLEST) - (last - first) * ROW_HEIGHT))}px)`;
    const shown: HTMLElement[] = [];
    for (let position = first; position < last; position += 1) {
      const page = Math.floor(position / PAGE);
      const row = this.pages.get(page)?.[position % PAGE];
      if (row === undefined) void this.load(position);
      shown.push(this.row(position, row));
    }
    this.rows.replaceChildren(...shown);
    const active = shown.find((each) => each.dataset['position'] === String(this.current));
    setAttribute(this.scroller, 'aria-activedescendant', active?.id ?? null);
  }

  private row(position: number, row: ElementRow | undefined): HTMLElement {
    const attributes = {
      class: 'tlk-element',
      role: 'option',
      id: `tlk-row-${this.node.length}-${position}`,
      'aria-setsize': this.total,
      'aria-posinset': position + 1,
      'aria-selected': String(position === this.current),
      'data-position': position,
    };
    if (row === undefined) return h('div', attributes, '…');
    const words = [
      row.seconds === null ? '' : duration(row.seconds),
      row.attempts > 1 ? `attempt ${row.attempts}` : '',
      row.error === null ? '' : oneLine(row.error, 160),
    ].filter(Boolean);
    return h(
      'div',
      { ...attributes, 'data-index': row.index, 'data-state': row.state },
      h('span', { class: 'tlk-element-index' }, `#${count(row.index)}`),
      h('span', { class: 'tlk-element-state', 'data-state': row.state }, `${GLYPHS[row.state]} ${row.state}`),
      h('span', { class: 'tlk-element-words' }, words.join(' · ')),
    );
  }

  private onClick(event: Event): void {
    const target = event.target instanceof Element ? event.target.closest('.tlk-element') : null;
    const position = Number(target?.getAttribute('data-position') ?? NaN);
    if (!Number.isInteger(position)) return;
    this.current = position;
    this.draw();
    this.openCurrent();
  }

  private onKey(event: KeyboardEvent): void {
    const steps: Readonly<Record<string, number>> = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: SHOWN_ROWS,
      PageUp: -SHOWN_ROWS,
      Home: -Infinity,
      End: Infinity,
    };
    const step = steps[event.key];
    if (event.key === 'Enter') this.openCurrent();
    else if (step === undefined) return;
    else {
      this.current = Math.min(Math.max(this.current + step, 0), Math.max(this.total - 1, 0));
      const { first, last } = this.window();
      if (this.current < first || this.current >= last - 1) {
        const top = this.current < first ? this.current : this.current - SHOWN_ROWS + 1;
        this.scroller.scrollTop = scrollTopOf(Math.max(top, 0), this.scroller.clientHeight, this.total);
      }
      this.draw();
    }
    event.preventDefault();
  }

  private openCurrent(): void {
    const row = this.pages.get(Math.floor(this.current / PAGE))?.[this.current % PAGE];
    if (row !== undefined) this.open(row);
  }
}
