import { describe, expect, it } from 'vitest';
import { BOX_HEIGHT, BOX_WIDTH, place, shapeKey } from '../src/layout';
import type { GraphShape } from '../src/messages';

function shape(n: number, edges: readonly (readonly [number, number])[]): GraphShape {
  return {
    name: 'g',
    about: '',
    start: 'n0',
    nodes: Array.from({ length: n }, (_, i) => ({ name: `n${i}`, kind: 'function', about: '', options: {} })),
    edges: edges.map(([a, b]) => ({ source: `n${a}`, target: `n${b}`, into: null, routed: false })),
    problems: [],
  };
}

const tree = (n: number): GraphShape =>
  shape(
    n,
    Array.from({ length: n - 1 }, (_, i) => [Math.floor(i / 3), i + 1] as const),
  );

describe.each([
  ['a few boxes', 40],
  ['many boxes', 500],
])('the layout of %s', (_, n) => {
  const found = place(tree(n));

  it('goes from left to right along every wire', () => {
    for (const { points } of found.wires)
      expect(points[points.length - 1]?.x).toBeGreaterThan(points[0]?.x ?? Infinity);
  });

  it('lets no two boxes overlap', () => {
    const places = [...found.places.values()];
    for (let i = 0; i < places.length; i += 1)
      for (let j = 0; j < i; j += 1) {
        const [a, b] = [places[i], places[j]];
        if (!a || !b) throw new Error('a box without a place');
        expect(Math.abs(a.x - b.x) >= BOX_WIDTH || Math.abs(a.y - b.y) >= BOX_HEIGHT).toBe(true);
      }
  });

  it('gives every box a place inside the drawing', () => {
    expect(found.places.size).toBe(n);
    for (const { x, y } of found.places.values()) {
      expect(x + BOX_WIDTH / 2).toBeLessThanOrEqual(found.width);
      expect(y + BOX_HEIGHT / 2).toBeLessThanOrEqual(found.height);
    }
  });
});

describe('a shape', () => {
  it('stays the same while only what is said of it changes', () => {
    const one = tree(5);
    expect(shapeKey({ ...one, about: 'other', problems: ['x'] })).toBe(shapeKey(one));
    expect(shapeKey(tree(6))).not.toBe(shapeKey(one));
  });

  it('may have wires to boxes that it lacks, or none', () => {
    expect(place(shape(1, [[0, 7]])).wires).toEqual([]);
    expect(place(shape(0, [])).places.size).toBe(0);
  });
});
