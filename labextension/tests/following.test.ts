import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Following } from '../src/following';
import type { PanelState, RunStatus } from '../src/messages';
import type { Channel } from '../src/panes';
import { chain, standing } from './states';

const RUN = '20260101-000000-abcdef';

function stateOf(status: RunStatus, id = RUN): PanelState {
  const state = chain({ a: standing() });
  return { ...state, run: state.run && { ...state.run, id, status } };
}

/** A kernel that answers as a test says, what it was asked, and what was shown. */
function following(answer: () => Promise<PanelState>) {
  const asked: unknown[] = [];
  const shown: string[] = [];
  const gone = new AbortController();
  const ask = (request: unknown): Promise<PanelState> => {
    asked.push(request);
    return answer();
  };
  const channel = { ask } as unknown as Channel;
  const made = new Following(channel, gone.signal, (state) => shown.push(state.run?.status ?? 'none'));
  return { made, asked, shown, gone };
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('following a run', () => {
  it('asks once a second until the run is over, and then no more', async () => {
    let left = 3;
    const { made, asked, shown } = following(async () => stateOf(--left > 0 ? 'running' : 'succeeded'));
    made.begin(stateOf('running'));
    await vi.advanceTimersByTimeAsync(999);
    expect(asked).toEqual([]);
    await vi.advanceTimersByTimeAsync(60_000);

    expect(asked).toEqual(Array(3).fill({ kind: 'state', run: RUN }));
    expect(shown).toEqual(['running', 'running', 'succeeded']);
  });

  it('asks nothing about a run that is over', async () => {
    const { made, asked } = following(async () => stateOf('succeeded'));
    made.begin(stateOf('interrupted'));
    await vi.advanceTimersByTimeAsync(60_000);

    expect(asked).toEqual([]);
  });

  it('asks about the run shown last, and drops a late answer about the one before', async () => {
    let answerFirst: (state: PanelState) => void = () => undefined;
    const answers = [
      new Promise<PanelState>((resolve) => (answerFirst = resolve)),
      Promise.resolve(stateOf('succeeded', 'second')),
    ];
    const { made, asked, shown } = following(() => answers.shift() ?? Promise.reject(new Error('asked too often')));
    made.begin(stateOf('running', 'first'));
    await vi.advanceTimersByTimeAsync(1_000);
    made.begin(stateOf('running', 'second'));
    answerFirst(stateOf('failed', 'first'));
    await vi.advanceTimersByTimeAsync(60_000);

    expect(asked).toEqual([
      { kind: 'state', run: 'first' },
      { kind: 'state', run: 'second' },
    ]);
    expect(shown).toEqual(['succeeded']);
  });

  it('asks a kernel that gave no answer later and later, and every second again once it does', async () => {
    const answers = [null, null, 'running', 'succeeded'] as const;
    const at: number[] = [];
    const begun = Date.now();
    const { made, shown } = following(async () => {
      at.push(Date.now() - begun);
      const status = answers[at.length - 1];
      if (!status) throw new Error('No answer from the kernel within 30 s.');
      return stateOf(status);
    });
    made.begin(stateOf('running'));
    await vi.advanceTimersByTimeAsync(60_000);

    expect(at).toEqual([1_000, 3_000, 7_000, 8_000]);
    expect(shown).toEqual(['running', 'succeeded']);
  });

  it('ends with its panel', async () => {
    const { made, asked, shown, gone } = following(async () => stateOf('running'));
    made.begin(stateOf('running'));
    await vi.advanceTimersByTimeAsync(1_000);
    gone.abort();
    made.begin(stateOf('running'));
    await vi.advanceTimersByTimeAsync(60_000);

    expect([asked.length, shown.length]).toEqual([1, 1]);
  });
});
