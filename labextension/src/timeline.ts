/** What ran when, and where: a lane per node, its batches as bars, the wait for a worker before each. */

import { h, setText, svg } from './dom';
import type { Bar, PanelState, Timeline } from './messages';
import type { Pane, PaneContext } from './panes';
import { count, duration, oneLine, plural } from './words';

const LANE = 26;
const LABELS = 150;
const AXIS = 22;
const AFRESH_MS = 2_000;

/** Round steps for an axis: about `wanted` of them over a span (s). */
export function ticks(span: number, wanted = 6): readonly number[] {
  if (!(span > 0)) return [0];
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const minutes = [60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400];
  const step =
    rough > 40
      ? (minutes.find((each) => each >= rough) ?? Math.ceil(rough / 86400) * 86400)
      : ([1, 2, 5, 10].map((n) => n * power).find((each) => each >= rough) ?? rough);
  const found: number[] = [];
  for (let i = 0; i * step <= span * 1.0001 && i < 50; i += 1) found.push(Number((i * step).toPrecision(10)));
  return found;
}

/** Bars of one lane in as few rows as keep them apart. */
export function stack(bars: readonly Bar[], now: number): readonly (readonly Bar[])[] {
  const rows: Bar[][] = [];
  const ends: number[] = [];
  for (const bar of [...bars].sort((a, b) => a.startedAt - b.startedAt)) {
    const free = ends.findIndex((end) => end <= bar.startedAt + 1e-9);
    const row = free < 0 ? rows.length : free;
    rows[row] ??= [];
    rows[row].push(bar);
    ends[row] = bar.endedAt ?? now;
  }
  return rows;
}

export function createTimeline(context: PaneContext): Pane {
  return new TimelineView(context);
}

class TimelineView implements Pane {
  readonly element: HTMLElement;
  private readonly summary = h('p', { class: 'tlk-note' });
  private readonly frame = h('div', { class: 'tlk-timeline', tabindex: 0, role: 'region', 'aria-label': 'Timeline' });
  private readonly gone = new AbortController();
  private found: Timeline | null = null;
  private by: 'node' | 'worker' = 'node';
  private zoom = 1;
  private askedAt = 0;
  private stamp = '';
  private timer: ReturnType<typeof setTimeout> | null = null;
  private readonly observer = new ResizeObserver(() => this.draw());

  constructor(private readonly context: PaneContext) {
    const { signal } = this.gone;
    const toggle = h('button', { type: 'button', class: 'tlk-button', 'aria-pressed': 'false' }, 'By worker');
    toggle.addEventListener(
      'click',
      () => {
        this.by = this.by === 'node' ? 'worker' : 'node';
        toggle.setAttribute('aria-pressed', String(this.by === 'worker'));
        this.draw();
      },
      { signal },
    );
    this.element = h(
      'div',
      { class: 'tlk-timeline-pane' },
      h('div', { class: 'tlk-actions' }, toggle),
      this.frame,
      this.summary,
    );
    this.frame.addEventListener('keydown', (event) => this.onKey(event), { signal });
    this.frame.addEventListener(
      'click',
      (event) => {
        const node =
          event.target instanceof Element ? event.target.closest('[data-node]')?.getAttribute('data-node') : null;
        if (node) this.context.select(node);
      },
      { signal },
    );
    this.observer.observe(this.frame);
  }

  update(state: PanelState): void {
    const stamp = JSON.stringify([
      state.run?.id,
      state.run?.status,
      state.run?.status === 'running' ? Math.floor(state.at) : 0,
    ]);
    if (stamp === this.stamp || state.run === null) return;
    this.stamp = stamp;
    if (this.timer !== null) return;
    this.timer = setTimeout(
      () => {
        this.timer = null;
        void this.load();
      },
      Math.max(0, AFRESH_MS - (Date.now() - this.askedAt)),
    );
  }

  dispose(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.observer.disconnect();
    this.gone.abort();
  }

  private async load(): Promise<void> {
    const run = this.context.state().run;
    if (run === null) return;
    this.askedAt = Date.now();
    try {
      this.found = await this.context.channel.ask<'timeline'>({ kind: 'timeline', run: run.id }, this.gone.signal);
      this.draw();
    } catch (error) {
      if (!this.gone.signal.aborted) setText(this.summary, error instanceof Error ? error.message : String(error));
    }
  }

  private onKey(event: KeyboardEvent): void {
    const steps: Readonly<Record<string, number>> = { '+': 1.5, '=': 1.5, '-': 1 / 1.5, '0': 0 };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.zoom = step === 0 ? 1 : Math.min(Math.max(this.zoom * step, 1), 50);
    this.draw();
  }

  private draw(): void {
    const found = this.found;
    if (found === null) return;
    const state = this.context.state();
    const [from, to] = [found.from, Math.max(found.to, found.from + 0.001)];
    const across = Math.max((this.frame.clientWidth || 600) - LABELS - 12, 120) * this.zoom;
    const x = (at: number): number => LABELS + ((at - from) / (to - from)) * across;
    const order = state.graph.nodes.map((node) => node.name);
    const names = this.by === 'node' ? order : [...new Set(found.bars.map((bar) => bar.worker))].sort();
    const critical = new Set(state.run?.criticalPath ?? []);
    const parts: SVGElement[] = [];
    let y = AXIS;
    for (const name of names) {
      const bars = found.bars.filter((bar) => (this.by === 'node' ? bar.node : bar.worker) === name);
      const rows = stack(bars, to);
      const height = Math.max(LANE, Math.min(rows.length, 8) * 9 + 10);
      const lane = svg('g', {
        class: 'tlk-lane',
        'data-node': this.by === 'node' ? name : null,
        'data-critical': this.by === 'node' && critical.has(name) ? 'true' : null,
      });
      lane.append(
        svg(
          'text',
          { x: LABELS - 8, y: y + height / 2 + 4, 'text-anchor': 'end', class: 'tlk-lane-name' },
          svg('title', {}, oneLine(name || 'worker', 200)),
          oneLine(name || 'worker', 20),
        ),
      );
      const thick = Math.min(14, (height - 8) / Math.max(1, Math.min(rows.length, 8)) - 1);
      rows.forEach((row, i) => {
        for (const bar of row) lane.append(...this.bar(bar, x, y + 4 + (i % 8) * (thick + 1), thick, to));
      });
      lane.append(svg('path', { d: `M0 ${y + height}H${LABELS + across}`, class: 'tlk-rule' }));
      parts.push(lane);
      y += height;
    }
    for (const tick of ticks(to - from, Math.max(3, Math.round(across / 110)))) {
      const at = LABELS + (tick / (to - from)) * across;
      parts.push(
        svg('path', { d: `M${at} ${AXIS - 4}V${y}`, class: 'tlk-rule' }),
        svg(
          'text',
          { x: at, y: 12, 'text-anchor': tick === 0 ? 'start' : 'middle', class: 'tlk-tick' },
          duration(tick),
        ),
      );
    }
    const words = this.words(found);
    const drawing = svg(
      'svg',
      { role: 'img', 'aria-label': words, width: LABELS + across + 12, height: y + 4 },
      ...parts,
    );
    const left = this.frame.scrollLeft;
    this.frame.replaceChildren(drawing);
    this.frame.scrollLeft = left;
    setText(this.summary, words);
  }

  private bar(bar: Bar, x: (at: number) => number, y: number, thick: number, now: number): SVGElement[] {
    const [start, end] = [x(bar.startedAt), x(bar.endedAt ?? now)];
    const waited = bar.startedAt - bar.submittedAt;
    const words = `${oneLine(bar.node, 80)}: ${plural(bar.elements, 'element')}, ${bar.outcome} in ${duration((bar.endedAt ?? now) - bar.startedAt)}, queued ${duration(waited)}${bar.attempt > 1 ? `, attempt ${bar.attempt}` : ''}${bar.worker ? `, on ${oneLine(bar.worker, 60)}` : ''}`;
    const made = svg(
      'rect',
      {
        x: start,
        y,
        width: Math.max(end - start, 1.5),
        height: Math.max(thick, 3),
        rx: 1.5,
        class: 'tlk-run-bar',
        'data-outcome': bar.outcome,
      },
      svg('title', {}, words),
    );
    const parts: SVGElement[] = [made];
    if (waited > 0.02)
      parts.unshift(svg('path', { d: `M${x(bar.submittedAt)} ${y + thick / 2}H${start}`, class: 'tlk-queue-bar' }));
    if (bar.outcome === 'failed' || bar.outcome === 'lost')
      parts.push(
        svg('text', { x: end + 2, y: y + thick / 2 + 4, class: 'tlk-mark' }, bar.outcome === 'failed' ? '✕' : '⊘'),
      );
    if (bar.attempt > 1) parts.push(svg('path', { d: `M${start} ${y - 2}v${thick + 4}`, class: 'tlk-retry' }));
    return parts;
  }

  private words(found: Timeline): string {
    if (found.bars.length === 0) return 'Nothing was computed: everything was replayed, or it has not begun.';
    const workers = new Set(found.bars.map((bar) => bar.worker).filter(Boolean)).size;
    const path = this.context.state().run?.criticalPath ?? [];
    return (
      [
        `${plural(found.bars.length, 'batch', 'batches')} on ${plural(Math.max(workers, 1), 'worker')} in ${duration(found.to - found.from)}`,
        found.isJoined ? 'neighbouring batches are drawn as one' : '',
        path.length > 1 ? `the time went along ${path.map((name) => oneLine(name, 40)).join(' → ')}` : '',
        'zoom with + and -, 0 shows all',
      ]
        .filter(Boolean)
        .join('; ')
        .replace(/;/g, ' ·') + (found.bars.length > 4000 ? ` (${count(found.bars.length)})` : '')
    );
  }
}
