/** The drawing of a graph: boxes and wires, walked by keys, patched where something changed. */

import { BoxView } from './boxView';
import { h, setAttribute, svg } from './dom';
import { BOX_HEIGHT, BOX_WIDTH, ENTRY, type Layout, type Point, place, shapeKey } from './layout';
import type { GraphEdge, PanelState, Plan, State } from './messages';
import { hasState, isTaken, related, toBoxes } from './viewModel';
import { Viewport } from './viewport';
import { oneLine, plural } from './words';

const ARROW = 7;
/** From this many boxes on there is a field to search them by name. */
const SEARCHED_FROM = 30;

export interface GraphViewOptions {
  readonly signal: AbortSignal;
  select(node: string | null): void;
}

export class GraphView {
  readonly element: HTMLElement;
  private readonly drawing = svg('svg', { class: 'tlk-drawing', role: 'group' });
  private readonly content = svg('g');
  private readonly search = h('input', {
    type: 'search',
    class: 'tlk-search',
    placeholder: 'Find a function',
    'aria-label': 'Find a function',
  });
  private readonly viewport: Viewport;
  private boxes = new Map<string, BoxView>();
  private wires: { readonly edge: GraphEdge; readonly element: SVGGElement }[] = [];
  private layout: Layout | null = null;
  private shape = '';
  private state: PanelState | null = null;
  private current = '';
  private selected: string | null = null;
  private filter: State | null = null;

  constructor(private readonly options: GraphViewOptions) {
    const { signal } = options;
    this.drawing.append(this.content);
    this.element = h('div', { class: 'tlk-graph' }, this.drawing);
    this.viewport = new Viewport(this.element, this.drawing, this.content, signal);
    this.element.append(this.viewport.controls, this.search);
    this.drawing.addEventListener('click', (event) => this.onClick(event), { signal });
    this.drawing.addEventListener('keydown', (event) => this.onKey(event), { signal });
    this.drawing.addEventListener('focusin', (event) => this.onFocus(event), { signal });
    this.drawing.addEventListener('pointerover', (event) => this.trace(nodeAt(event)), { signal });
    this.drawing.addEventListener('pointerleave', () => this.trace(null), { signal });
    this.search.addEventListener('input', () => this.dim(), { signal });
  }

  update(state: PanelState, plan: Plan | null): void {
    this.state = state;
    const key = shapeKey(state.graph);
    const boxes = toBoxes(state, plan);
    if (key !== this.shape) {
      this.shape = key;
      this.layout = place(state.graph);
      this.draw(
        state,
        boxes.map((box) => box.name),
        (name) => {
          const box = boxes.find((each) => each.name === name);
          return new BoxView(box as (typeof boxes)[number], this.layout?.places.get(name) ?? { x: 0, y: 0 });
        },
      );
    } else for (const box of boxes) this.boxes.get(box.name)?.update(box);
    for (const { edge, element } of this.wires) {
      setAttribute(element, 'data-taken', String(isTaken(state, edge)));
      const critical = state.run?.criticalPath ?? [];
      const at = critical.indexOf(edge.source);
      setAttribute(element, 'data-critical', at >= 0 && critical[at + 1] === edge.target ? 'true' : null);
    }
    setAttribute(this.drawing, 'aria-label', `Graph of ${plural(boxes.length, 'function')}`);
    this.dim();
  }

  /** Show only what has something in this state as it is, and the rest faintly. */
  setFilter(filter: State | null): void {
    this.filter = filter;
    this.dim();
  }

  setSelected(node: string | null): void {
    this.selected = node;
    for (const [name, box] of this.boxes) setAttribute(box.element, 'aria-pressed', String(name === node));
    if (node !== null) this.reveal(node);
  }

  /** Give the focus to a node's box. */
  focus(node: string): void {
    this.boxes.get(node)?.element.focus({ preventScroll: true });
  }

  private draw(state: PanelState, names: readonly string[], make: (name: string) => BoxView): void {
    const layout = this.layout as Layout;
    this.boxes = new Map(names.map((name) => [name, make(name)]));
    this.wires = layout.wires.map(({ index, points }) => {
      const edge = state.graph.edges[index] as GraphEdge;
      return { edge, element: wire(points, edge) };
    });
    const entry = layout.places.get(state.graph.start);
    const first =
      entry &&
      wire(
        [
          { x: entry.x - BOX_WIDTH / 2 - ENTRY, y: entry.y },
          { x: entry.x - BOX_WIDTH / 2, y: entry.y },
        ],
        { source: '', target: state.graph.start, into: null, routed: false },
      );
    this.content.replaceChildren(
      ...(first ? [first] : []),
      ...this.wires.map(({ element }) => element),
      ...[...this.boxes.values()].map(({ element }) => element),
    );
    this.viewport.resize(layout.width, layout.height);
    this.search.hidden = names.length < SEARCHED_FROM;
    this.current = names.includes(this.current)
      ? this.current
      : state.graph.start in state.nodes || names.includes(state.graph.start)
        ? state.graph.start
        : (names[0] ?? '');
    this.rove(this.current);
    this.setSelected(this.selected);
  }

  private dim(): void {
    const wanted = this.search.value.trim().toLowerCase();
    for (const [name, box] of this.boxes) {
      const isFound = !wanted || name.toLowerCase().includes(wanted);
      const isIn = this.filter === null || hasState(this.state?.nodes[name], this.filter);
      setAttribute(box.element, 'data-dim', isFound && isIn ? null : 'true');
    }
  }

  private trace(node: string | null): void {
    const state = this.state;
    const near = node === null || state === null ? null : related(state, node);
    for (const [name, box] of this.boxes)
      setAttribute(box.element, 'data-far', near === null || near.has(name) ? null : 'true');
    for (const { edge, element } of this.wires)
      setAttribute(
        element,
        'data-far',
        near === null || (near.has(edge.source) && near.has(edge.target)) ? null : 'true',
      );
  }

  private onClick(event: Event): void {
    const node = nodeAt(event);
    if (node === null) return;
    this.rove(node);
    this.focus(node);
    this.options.select(node);
  }

  private onFocus(event: Event): void {
    const node = nodeAt(event);
    if (node === null) return;
    this.rove(node);
    this.reveal(node);
  }

  private onKey(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const node = nodeAt(event) ?? this.current;
    const steps: Readonly<Record<string, () => void>> = {
      ArrowRight: () => this.go(this.alongEdge(node, 'source', 'target') ?? this.beside(node, 1, 0)),
      ArrowLeft: () => this.go(this.alongEdge(node, 'target', 'source') ?? this.beside(node, -1, 0)),
      ArrowDown: () => this.go(this.beside(node, 0, 1)),
      ArrowUp: () => this.go(this.beside(node, 0, -1)),
      Home: () => this.go(this.state?.graph.start ?? null),
      End: () => this.go([...this.boxes.keys()].pop() ?? null),
      Enter: () => this.options.select(node),
      ' ': () => this.options.select(node),
      Escape: () => this.options.select(null),
      '+': () => this.viewport.zoom(1.25),
      '=': () => this.viewport.zoom(1.25),
      '-': () => this.viewport.zoom(0.8),
      '0': () => this.viewport.fit(),
    };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    step();
  }

  private go(node: string | null): void {
    if (node === null) return;
    this.rove(node);
    this.focus(node);
  }

  /** The first box that an edge leads to, the one nearest in height. */
  private alongEdge(node: string, from: 'source' | 'target', to: 'source' | 'target'): string | null {
    const y = this.layout?.places.get(node)?.y ?? 0;
    const ends = (this.state?.graph.edges ?? []).filter((edge) => edge[from] === node).map((edge) => edge[to]);
    const far = (name: string): number => Math.abs((this.layout?.places.get(name)?.y ?? 0) - y);
    return ends.sort((a, b) => far(a) - far(b))[0] ?? null;
  }

  /** The nearest box in a direction. */
  private beside(node: string, dx: number, dy: number): string | null {
    const places = this.layout?.places;
    const here = places?.get(node);
    if (!places || !here) return null;
    let best: string | null = null;
    let least = Infinity;
    for (const [name, at] of places) {
      const ahead = (at.x - here.x) * dx + (at.y - here.y) * dy;
      const aside = Math.abs((at.x - here.x) * dy) + Math.abs((at.y - here.y) * dx);
      if (ahead <= 0 || name === node) continue;
      const far = ahead + 3 * aside;
      if (far < least) [best, least] = [name, far];
    }
    return best;
  }

  /** One tab stop for the whole drawing: the box where the arrows are. */
  private rove(node: string): void {
    this.boxes.get(this.current)?.element.setAttribute('tabindex', '-1');
    this.current = node;
    this.boxes.get(node)?.element.setAttribute('tabindex', '0');
  }

  private reveal(node: string): void {
    const at = this.layout?.places.get(node);
    if (at) this.viewport.reveal(at.x, at.y, BOX_WIDTH / 2 + 8, BOX_HEIGHT / 2 + 8);
  }
}

function nodeAt(event: Event): string | null {
  const target = event.target instanceof Element ? event.target.closest('.tlk-box') : null;
  return target?.getAttribute('data-node') ?? null;
}

/** A curve through the points, level at each, with its head at the last. */
function wire(points: readonly Point[], edge: GraphEdge): SVGGElement {
  const last = points[points.length - 1] as Point;
  const end = { x: last.x - ARROW, y: last.y };
  const through = [...points.slice(0, -1), end];
  let d = `M${through[0]?.x ?? 0} ${through[0]?.y ?? 0}`;
  for (let i = 1; i < through.length; i += 1) {
    const [a, b] = [through[i - 1] as Point, through[i] as Point];
    const middle = (a.x + b.x) / 2;
    d += `C${middle.toFixed(1)} ${a.y.toFixed(1)} ${middle.toFixed(1)} ${b.y.toFixed(1)} ${b.x.toFixed(1)} ${b.y.toFixed(1)}`;
  }
  const half = ARROW / 2;
  return svg(
    'g',
    { class: 'tlk-wire', 'data-routed': edge.routed ? 'true' : null, 'aria-hidden': 'true' },
    svg('path', { d, class: 'tlk-curve' }),
    svg('path', { d: `M${end.x} ${end.y - half}L${last.x} ${last.y}L${end.x} ${end.y + half}Z`, class: 'tlk-head' }),
    edge.into === null
      ? null
      : svg(
          'text',
          { x: last.x - ARROW - 5, y: last.y - 4, 'text-anchor': 'end', class: 'tlk-into' },
          oneLine(edge.into, 12),
        ),
  );
}
