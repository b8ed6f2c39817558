/** One box of the drawing: made once, then patched. */

import { setAttribute, setText, svg } from './dom';
import { BOX_HEIGHT, BOX_WIDTH, type Point } from './layout';
import type { NodeKind } from './messages';
import type { Box } from './viewModel';
import { plain } from './words';

const SLANT = 14;
const PAD = 14;
const BAR_HEIGHT = 5;
const MOST_TICKS = 8;

export class BoxView {
  readonly element: SVGGElement;
  private readonly title = svg('title');
  private readonly outline: SVGPathElement;
  private readonly label: SVGTextElement;
  private readonly status: SVGTextElement;
  private readonly time: SVGTextElement;
  private readonly numbers: SVGTextElement;
  private readonly note: SVGGElement;
  private readonly bar: SVGGElement;
  private drawnBar = '';

  constructor(box: Box, place: Point) {
    const x = -BOX_WIDTH / 2 + (box.node.kind === 'function' ? PAD : PAD + SLANT / 2);
    const right = BOX_WIDTH / 2 - (box.node.kind === 'function' ? PAD : PAD + SLANT / 2);
    const y = -BOX_HEIGHT / 2;
    this.outline = svg('path', { d: outline(box.node.kind), class: 'tlk-outline' });
    this.label = svg('text', { x, y: y + 20, class: 'tlk-name' });
    this.status = svg('text', { x, y: y + 37, class: 'tlk-status' });
    this.time = svg('text', { x: right, y: y + 37, class: 'tlk-time', 'text-anchor': 'end' });
    this.numbers = svg('text', { x, y: y + 51, class: 'tlk-numbers' });
    this.note = svg(
      'g',
      { class: 'tlk-note', transform: `translate(${right - 6} ${y + 16})` },
      svg('circle', { r: 6 }),
      svg('text', { y: 3.5, 'text-anchor': 'middle' }, 'i'),
    );
    this.bar = svg('g', { class: 'tlk-bar', transform: `translate(${x} ${y + 55.5})` });
    this.element = svg(
      'g',
      {
        class: 'tlk-box',
        role: 'button',
        tabindex: -1,
        transform: `translate(${place.x} ${place.y})`,
        'data-node': box.name,
        'data-kind': box.node.kind,
      },
      this.title,
      svg('path', { d: outline(box.node.kind), class: 'tlk-ring' }),
      this.outline,
      this.label,
      this.status,
      this.time,
      this.numbers,
      this.note,
      this.bar,
    );
    this.update(box);
  }

  update(box: Box): void {
    setAttribute(this.element, 'data-state', box.state ?? 'none');
    setAttribute(this.element, 'aria-label', box.spoken);
    setAttribute(this.element, 'data-critical', box.isCritical ? 'true' : null);
    setText(this.label, box.label);
    setText(this.status, box.status);
    setText(this.time, box.time);
    setText(this.numbers, box.numbers);
    setAttribute(this.note, 'display', box.notes.length && !box.retries ? null : 'none'); // ticks of retries stand there
    const told = [box.name, box.node.about, ...box.notes].map((text) => plain(text).slice(0, 400));
    setText(this.title, told.filter(Boolean).join('\n'));
    this.drawBar(box);
  }

  /** The bar of a mapped node, or of a call that reports its progress; and a tick for each retry. */
  private drawBar(box: Box): void {
    const key = JSON.stringify([box.segments, box.progress, box.retries]);
    if (key === this.drawnBar) return;
    this.drawnBar = key;
    const width = BOX_WIDTH - 2 * PAD - (box.node.kind === 'function' ? 0 : SLANT);
    const parts: SVGElement[] = [];
    const pieces = box.segments.length
      ? box.segments
      : box.progress === null
        ? []
        : [{ state: 'running' as const, fraction: box.progress }];
    if (pieces.length) parts.push(svg('rect', { width, height: BAR_HEIGHT, rx: 2, class: 'tlk-track' }));
    let x = 0;
    for (const { state, fraction } of pieces) {
      const size = fraction * width;
      if (state !== 'waiting')
        parts.push(
          svg('rect', { x, width: Math.max(size, 1), height: BAR_HEIGHT, class: 'tlk-segment', 'data-state': state }),
        );
      x += size;
    }
    const ticks = Math.min(box.retries, MOST_TICKS);
    for (let i = 0; i < ticks; i += 1) {
      const at = width - 2 - i * 5;
      parts.push(svg('path', { d: `M${at} ${-BOX_HEIGHT + 14}v8`, class: 'tlk-retry' }));
    }
    if (ticks) parts.push(svg('title', {}, `${box.retries} ${box.retries === 1 ? 'retry' : 'retries'}`));
    this.bar.replaceChildren(...parts);
  }
}

/** A function is a rounded box, a router a hexagon, a reducer a funnel that narrows to the right. */
function outline(kind: NodeKind): string {
  const [x0, x1, y0, y1] = [-BOX_WIDTH / 2, BOX_WIDTH / 2, -BOX_HEIGHT / 2, BOX_HEIGHT / 2];
  if (kind === 'router') return `M${x0 + SLANT} ${y0}H${x1 - SLANT}L${x1} 0L${x1 - SLANT} ${y1}H${x0 + SLANT}L${x0} 0Z`;
  if (kind === 'reducer')
    return `M${x0} ${y0}L${x1 - SLANT} ${y0 + 6}L${x1} ${y0 + 6 + SLANT}V${y1 - 6 - SLANT}L${x1 - SLANT} ${y1 - 6}L${x0} ${y1}Z`;
  const r = 8;
  return (
    `M${x0 + r} ${y0}H${x1 - r}a${r} ${r} 0 0 1 ${r} ${r}V${y1 - r}a${r} ${r} 0 0 1 ${-r} ${r}` +
    `H${x0 + r}a${r} ${r} 0 0 1 ${-r} ${-r}V${y0 + r}a${r} ${r} 0 0 1 ${r} ${-r}Z`
  );
}
