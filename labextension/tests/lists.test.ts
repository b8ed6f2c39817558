import { describe, expect, it } from 'vitest';
import { graphNameIn } from '../src/badges';
import { diffLines } from '../src/diffView';
import { ROW_HEIGHT, scrollTopOf, windowAt } from '../src/elementList';
import { definingCell } from '../src/notebookActions';
import { stack, ticks } from '../src/timeline';

describe('the window on many rows', () => {
  it.each([10, 1000, 1_000_000, 50_000_000])('reaches the last of %d rows, and the first', (total) => {
    const height = 260;
    const tall = Math.min(total * ROW_HEIGHT, 8_000_000);
    expect(windowAt(0, height, total).first).toBe(0);
    expect(windowAt(Math.max(tall - height, 0), height, total).last).toBe(total);
  });

  it.each([0, 500_000, 999_990])('shows row %d of a million where it was scrolled to', (row) => {
    const { first, last } = windowAt(scrollTopOf(row, 260, 1_000_000), 260, 1_000_000);
    expect(first).toBeLessThanOrEqual(row);
    expect(last).toBeGreaterThan(row);
  });
});

describe('the timeline', () => {
  it.each([0.02, 1, 7, 61, 3600, 100_000])('has round ticks over %f s', (span) => {
    const found = ticks(span);
    expect(found[0]).toBe(0);
    expect(found.length).toBeGreaterThan(2);
    expect(found.length).toBeLessThan(16);
    expect(Math.max(...found)).toBeLessThanOrEqual(span * 1.001);
  });

  it('puts bars that overlap into rows of their own', () => {
    const bar = (startedAt: number, endedAt: number) => ({
      node: 'a',
      worker: 'w',
      submittedAt: 0,
      startedAt,
      endedAt,
      elements: 1,
      attempt: 1,
      outcome: 'computed' as const,
    });
    expect(stack([bar(0, 2), bar(1, 3), bar(2, 4)], 5).map((row) => row.length)).toEqual([2, 1]);
  });
});

describe('cells', () => {
  it.each([
    ['%%tensorlake pages --wire "a -> b"', 'pages'],
    ['x = 1\ng = Graph("pages", start_node=a)', 'pages'],
    ["g = Graph(start_node=a, name='x')", null],
    ["Graph(name='my pages', start_node=a)", 'my pages'],
    ['%%tensorlake --run', null],
  ])('%j makes the graph %s', (source, name) => expect(graphNameIn(source)).toBe(name));

  it('that define a function are found by its name, the last one first', () => {
    const sources = ['def load(): 1', '@f\nasync def load(n):\n  2', 'loader = 3', 'class Load: 4'];
    expect([definingCell(sources, 'load'), definingCell(sources, 'Load'), definingCell(sources, 'nothing')]).toEqual([
      1, 3, -1,
    ]);
  });
});

describe('a diff', () => {
  it('keeps its signs and drops its file names', () => {
    const lines = diffLines('--- a\n+++ b\n@@ -1 +1 @@\n same\n-old\n+new');
    expect(lines.map((line) => [line.kind, line.text])).toEqual([
      ['place', '@@ -1 +1 @@'],
      ['same', ' same'],
      ['removed', '-old'],
      ['added', '+new'],
    ]);
  });
});
