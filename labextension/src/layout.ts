/** Where boxes stand and wires run: left to right, boxes of one size, so nothing moves while the shape stays. */

import { layout as dagre, Graph } from '@dagrejs/dagre';
import type { GraphShape } from './messages';

export const BOX_WIDTH = 180;
export const BOX_HEIGHT = 66;
const GAP_X = 46;
const GAP_Y = 22;
export const MARGIN = 16;
/** Room on the left for the arrow into the start node. */
export const ENTRY = 22;
/** More boxes than this, and dagre takes too long for a first paint: see `layered`. */
const MOST_FOR_DAGRE = 120;

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Wire {
  readonly index: number;
  readonly points: readonly Point[];
}

export interface Layout {
  readonly width: number;
  readonly height: number;
  /** Centres, in px. */
  readonly places: ReadonlyMap<string, Point>;
  readonly wires: readonly Wire[];
}

/** What a layout depends on: two shapes with the same key are drawn alike. */
export function shapeKey(shape: GraphShape): string {
  return JSON.stringify([shape.nodes.map((node) => node.name), shape.edges.map((edge) => [edge.source, edge.target])]);
}

export function place(shape: GraphShape): Layout {
  const names = new Set(shape.nodes.map((node) => node.name));
  const edges = shape.edges
    .map((edge, index) => ({ ...edge, index }))
    .filter((e) => names.has(e.source) && names.has(e.target));
  const found = names.size > MOST_FOR_DAGRE ? layered(shape, edges) : byDagre(shape, edges);
  return found;
}

interface Link {
  readonly source: string;
  readonly target: string;
  readonly index: number;
}

function byDagre(shape: GraphShape, edges: readonly Link[]): Layout {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: 'LR', nodesep: GAP_Y, ranksep: GAP_X, marginx: MARGIN, marginy: MARGIN });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of shape.nodes) graph.setNode(node.name, { width: BOX_WIDTH, height: BOX_HEIGHT });
  for (const edge of edges) graph.setEdge(edge.source, edge.target, {}, String(edge.index));
  dagre(graph);
  const places = new Map<string, Point>();
  for (const node of shape.nodes) {
    const at = graph.node(node.name) as unknown as Point;
    places.set(node.name, { x: at.x + ENTRY, y: at.y });
  }
  const wires = edges.map((edge) => {
    const label = graph.edge({ v: edge.source, w: edge.target, name: String(edge.index) }) as unknown as {
      points?: readonly Point[];
    };
    const bends = (label.points ?? []).slice(1, -1).map((point) => ({ x: point.x + ENTRY, y: point.y }));
    return { index: edge.index, points: wire(places, edge, bends) };
  });
  return size(places, wires);
}

/**
 * Columns by the longest path from the start, rows by the mean row of the parents: linear in boxes and wires.
 * Wires are drawn without bends; that many boxes are looked at one by one, or in the table.
 */
function layered(shape: GraphShape, edges: readonly Link[]): Layout {
  const parents = new Map<string, string[]>(shape.nodes.map((node) => [node.name, []]));
  const children = new Map<string, string[]>(shape.nodes.map((node) => [node.name, []]));
  for (const { source, target } of edges) {
    parents.get(target)?.push(source);
    children.get(source)?.push(target);
  }
  const column = new Map<string, number>();
  const left = new Map(shape.nodes.map((node) => [node.name, parents.get(node.name)?.length ?? 0]));
  const open = shape.nodes.filter((node) => left.get(node.name) === 0).map((node) => node.name);
  for (let i = 0; i < open.length; i += 1) {
    const name = open[i] as string;
    const at = column.get(name) ?? 0;
    column.set(name, at);
    for (const child of children.get(name) ?? []) {
      column.set(child, Math.max(column.get(child) ?? 0, at + 1));
      const rest = (left.get(child) ?? 1) - 1;
      left.set(child, rest);
      if (rest === 0) open.push(child);
    }
  }
  const columns: string[][] = [];
  for (const { name } of shape.nodes) {
    const at = column.get(name) ?? 0;
    columns[at] ??= [];
    columns[at].push(name);
  }
  const row = new Map<string, number>();
  for (const names of columns) {
    const wanted = (name: string): number => {
      const rows = (parents.get(name) ?? []).map((parent) => row.get(parent) ?? 0);
      return rows.length ? rows.reduce((a, b) => a + b, 0) / rows.length : 0;
    };
    const sorted = [...(names ?? [])].map((name) => ({ name, at: wanted(name) })).sort((a, b) => a.at - b.at);
    for (const [i, { name }] of sorted.entries()) row.set(name, i);
  }
  const tallest = Math.max(1, ...columns.map((names) => names?.length ?? 0));
  const places = new Map<string, Point>();
  columns.forEach((names, i) => {
    const shift = (tallest - (names?.length ?? 0)) / 2;
    for (const name of names ?? [])
      places.set(name, {
        x: ENTRY + MARGIN + BOX_WIDTH / 2 + i * (BOX_WIDTH + GAP_X),
        y: MARGIN + BOX_HEIGHT / 2 + ((row.get(name) ?? 0) + shift) * (BOX_HEIGHT + GAP_Y),
      });
  });
  return size(
    places,
    edges.map((edge) => ({ index: edge.index, points: wire(places, edge, []) })),
  );
}

/** From the right side of the source to the left side of the target. */
function wire(places: ReadonlyMap<string, Point>, edge: Link, bends: readonly Point[]): readonly Point[] {
  const from = places.get(edge.source) as Point;
  const to = places.get(edge.target) as Point;
  return [{ x: from.x + BOX_WIDTH / 2, y: from.y }, ...bends, { x: to.x - BOX_WIDTH / 2, y: to.y }];
}

function size(places: ReadonlyMap<string, Point>, wires: readonly Wire[]): Layout {
  let right = 0;
  let bottom = 0;
  for (const { x, y } of places.values()) {
    right = Math.max(right, x + BOX_WIDTH / 2);
    bottom = Math.max(bottom, y + BOX_HEIGHT / 2);
  }
  for (const { points } of wires) for (const { y } of points) bottom = Math.max(bottom, y);
  return { width: right + MARGIN, height: bottom + MARGIN, places, wires: apart(wires) };
}

/** Wires that end at one box end a little apart, in the order in which they come. */
function apart(wires: readonly Wire[]): readonly Wire[] {
  const groups = new Map<string, Wire[]>();
  for (const one of wires) {
    const end = one.points[one.points.length - 1] as Point;
    const key = `${end.x},${end.y}`;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  const shifts = new Map<number, number>();
  for (const group of groups.values()) {
    const sorted = [...group].sort(
      (a, b) => (a.points[a.points.length - 2]?.y ?? 0) - (b.points[b.points.length - 2]?.y ?? 0),
    );
    const step = Math.min(14, (BOX_HEIGHT - 20) / Math.max(1, sorted.length - 1));
    for (const [i, one] of sorted.entries()) shifts.set(one.index, (i - (sorted.length - 1) / 2) * step);
  }
  return wires.map((one) => {
    const end = one.points[one.points.length - 1] as Point;
    return { ...one, points: [...one.points.slice(0, -1), { x: end.x, y: end.y + (shifts.get(one.index) ?? 0) }] };
  });
}
