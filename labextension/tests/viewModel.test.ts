import { describe, expect, it } from 'vitest';
import {
  endWords,
  firstFailure,
  hasState,
  paceWords,
  progressWords,
  related,
  segments,
  tallies,
  toBoxes,
} from '../src/viewModel';
import { chain, standing } from './states';

const mapped = standing(
  { state: 'failed', total: 100, startedAt: 101, error: 'ValueError: no' },
  { computed: 35, failed: 2, running: 3, waiting: 60 },
);

describe('a box', () => {
  it('says how far a mapped function is, and how many failed', () => {
    const [box] = toBoxes(chain({ a: mapped }), null);
    expect(box?.numbers).toBe('37/100 · 2 failed');
    expect(box?.status).toBe('✕ failed');
    expect(box?.spoken).toContain('a, failed, 37/100 · 2 failed');
    expect(box?.spoken).toContain('ValueError: no');
  });

  it('counts nothing that was cancelled as done', () => {
    const [box] = toBoxes(
      chain({ a: standing({ state: 'cancelled', total: 3 }, { computed: 1, cancelled: 2 }) }),
      null,
    );
    expect(box?.numbers).toBe('1/3 · 2 cancelled');
  });

  it('has a bar whose parts add up to what has arrived', () => {
    const parts = segments(mapped);
    expect(parts.map((part) => part.state)).toEqual(['computed', 'failed', 'running', 'waiting']);
    expect(parts.reduce((sum, part) => sum + part.fraction, 0)).toBeCloseTo(1);
    expect(segments(standing({ total: 1 }, { computed: 1 }))).toEqual([]);
  });

  it('says what a replay saved, and nothing of numbers where there was one call', () => {
    const [box] = toBoxes(
      chain({ a: standing({ state: 'replayed', total: 1, savedSeconds: 42, savedBy: 'abc' }, { replayed: 1 }) }),
      null,
    );
    expect([box?.status, box?.numbers, box?.time]).toEqual(['↺ replayed', '', 'saved 42 s']);
  });

  it('says how long a running function still takes, or how long it has run: both have no room', () => {
    const running = standing({ state: 'running', total: 9, startedAt: 108 }, { running: 2 });
    const [first] = toBoxes(chain({ a: running }), null);
    const [later] = toBoxes(chain({ a: { ...running, etaSeconds: 7 } }), null);
    expect([first?.time, later?.time]).toEqual(['2.0 s', '7.0 s left']);
  });

  it('tells what there is to know beside its state', () => {
    const shared = 'shared with run 1, which computes the same at the same time';
    const [box] = toBoxes(
      chain({ a: standing({ state: 'waiting', total: 4, notes: [shared] }, { waiting: 4 }) }),
      null,
    );
    expect(box?.notes).toEqual([shared]);
    expect(box?.spoken).toContain(shared);
  });

  it('says what a run would do, once that was asked', () => {
    const plan = { nodes: { a: { replayed: 3, toCompute: 5, isOpen: true, seconds: 4 } }, seconds: 4, wallSeconds: 2 };
    const [box] = toBoxes(chain({ a: standing() }, { run: null }), plan);
    expect([box?.numbers, box?.time]).toEqual(['replay 3, compute 5 or more', '~4.0 s']);
  });
});

describe('a panel', () => {
  const state = chain({ a: standing({ state: 'computed', total: 1 }, { computed: 1 }), b: mapped, c: standing() });

  it('counts elements per state over all functions, failed first', () => {
    expect(tallies(state)).toEqual([
      { state: 'failed', n: 2 },
      { state: 'running', n: 3 },
      { state: 'waiting', n: 60 },
      { state: 'computed', n: 36 },
    ]);
    expect(hasState(state.nodes['b'], 'running')).toBe(true);
    expect(hasState(state.nodes['c'], 'running')).toBe(false);
  });

  it('shows the first failure in the order of the graph', () => expect(firstFailure(state)).toBe('b'));

  it('says how far it is, with a plus while more may come', () => expect(progressWords(state)).toBe('38/101+'));

  it('says how long the slowest function still takes', () => {
    expect(
      paceWords(chain({ a: standing({ rate: 2, etaSeconds: 30 }), b: standing({ rate: 50, etaSeconds: 1 }) })),
    ).toBe('2.0/s · about 30 s left');
  });

  it('says how it ended', () => {
    const run = state.run && { ...state.run, status: 'failed' as const, endedAt: 105 };
    expect(endWords({ ...state, run })).toBe('run of chain failed after 5.0 s, 2 elements failed');
    expect(endWords(state)).toBe('');
  });

  it('knows what leads to a function and what follows it', () => {
    const forked = chain({ a: standing(), b: standing(), c: standing(), d: standing() });
    const edges = [
      ['a', 'b'],
      ['a', 'c'],
      ['c', 'd'],
    ].map(([source = '', target = '']) => ({ source, target, into: null, routed: false }));
    expect([...related({ ...forked, graph: { ...forked.graph, edges } }, 'c')].sort()).toEqual(['a', 'c', 'd']);
  });
});
