/** States to draw in tests. */

import type { Actions, Counts, PanelState, Standing } from '../src/messages';

export const NONE: Counts = { waiting: 0, queued: 0, running: 0, computed: 0, replayed: 0, failed: 0, cancelled: 0 };

export function standing(changes: Partial<Standing> = {}, counts: Partial<Counts> = {}): Standing {
  return {
    state: 'waiting',
    counts: { ...NONE, ...counts },
    total: null,
    outputs: 0,
    seconds: 0,
    startedAt: null,
    endedAt: null,
    queuedSeconds: 0,
    retries: 0,
    rate: null,
    etaSeconds: null,
    savedSeconds: 0,
    savedBy: '',
    progress: null,
    error: null,
    notes: [],
    stale: '',
    ...changes,
  };
}

const ALLOWED: Actions = {
  run: null,
  cancel: null,
  force: null,
  resume: null,
  again: null,
  refresh: null,
  rerunFailed: null,
  plan: null,
};

/** A chain of functions, one standing each. */
export function chain(standings: Readonly<Record<string, Standing>>, changes: Partial<PanelState> = {}): PanelState {
  const names = Object.keys(standings);
  return {
    version: 1,
    modelId: null,
    graphKey: 'graph',
    graph: {
      name: 'chain',
      about: '',
      start: names[0] ?? '',
      nodes: names.map((name) => ({ name, kind: 'function', about: '', options: {} })),
      edges: names.slice(1).map((name, i) => ({ source: names[i] ?? '', target: name, into: null, routed: false })),
      problems: [],
    },
    run: {
      id: '20260101-000000-abcdef',
      short: 'abcdef',
      status: 'running',
      startedAt: 100,
      endedAt: null,
      error: null,
      blocking: false,
      doing: '',
      criticalPath: [],
    },
    nodes: standings,
    actions: ALLOWED,
    form: null,
    at: 110,
    ...changes,
  };
}
