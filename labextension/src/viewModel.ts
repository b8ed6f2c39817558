/** A panel's state as what is drawn of it: words and fractions, no elements. */

import type { Counts, GraphNode, PanelState, Plan, Standing, State } from './messages';
import { arrived, COUNTED, count, duration, GLYPHS, oneLine, plural, rate, STATES, settled } from './words';

/** One piece of a bar: how much of it is in which state. */
export interface Segment {
  readonly state: State;
  /** 0 to 1. */
  readonly fraction: number;
}

export interface Box {
  readonly name: string;
  readonly label: string;
  readonly node: GraphNode;
  /** Null where nothing is known yet: a graph that was not run. */
  readonly state: State | null;
  /** `✓ computed`. */
  readonly status: string;
  /** `37/100 · 2 failed`. */
  readonly numbers: string;
  /** How long it took, or will take. */
  readonly time: string;
  readonly segments: readonly Segment[];
  /** Of the call that reports its progress; 0 to 1. */
  readonly progress: number | null;
  readonly retries: number;
  readonly isCritical: boolean;
  /** What there is to know beside its state: that another run shares it, that it can't have a key of its own. */
  readonly notes: readonly string[];
  /** What a screen reader says. */
  readonly spoken: string;
}

export const LABEL_LENGTH = 24;
export const MOST_NOTES = 5;

export function toBoxes(state: PanelState, plan: Plan | null): readonly Box[] {
  const critical = new Set(state.run?.criticalPath ?? []);
  return state.graph.nodes.map((node) => toBox(node, state, plan, critical.has(node.name)));
}

function toBox(node: GraphNode, panel: PanelState, plan: Plan | null, isCritical: boolean): Box {
  const standing = panel.nodes[node.name] ?? null;
  const label = oneLine(node.name, LABEL_LENGTH);
  const name = oneLine(node.name, 200);
  const planned = plan?.nodes[node.name];
  const state = standing?.state ?? null;
  const isShown = standing !== null && (panel.run !== null || state === 'stale');
  const status = isShown && state !== null ? `${GLYPHS[state]} ${state}` : node.kind;
  let numbers = '';
  let time = '';
  if (planned !== undefined) {
    numbers = planWords(planned.replayed, planned.toCompute, planned.isOpen);
    time = planned.seconds === null || planned.toCompute === 0 ? '' : `~${duration(planned.seconds)}`;
  } else if (standing !== null && panel.run !== null) {
    numbers = countWords(standing);
    time = timeWords(standing, panel.at);
  }
  const notes = panel.run === null ? [] : (standing?.notes.slice(0, MOST_NOTES) ?? []);
  const spoken = [
    `${name}, ${isShown && state !== null ? state : node.kind}`,
    node.kind === 'function' || !isShown ? '' : node.kind,
    numbers,
    time,
    standing?.error ? oneLine(standing.error, 120) : '',
    standing?.stale ? oneLine(standing.stale, 120) : '',
    ...notes.map((note) => oneLine(note, 120)),
  ]
    .filter(Boolean)
    .join(', ');
  return {
    name: node.name,
    label,
    node,
    state: isShown ? state : null,
    status,
    numbers,
    time,
    segments: standing === null || panel.run === null ? [] : segments(standing),
    progress: standing?.progress ? fraction(standing.progress.current, standing.progress.total) : null,
    retries: standing?.retries ?? 0,
    isCritical,
    notes,
    spoken,
  };
}

function planWords(replayed: number, toCompute: number, isOpen: boolean): string {
  const parts = [replayed ? `replay ${count(replayed)}` : '', toCompute ? `compute ${count(toCompute)}` : ''];
  const known = parts.filter(Boolean).join(', ');
  if (!known) return isOpen ? 'not known yet' : 'nothing to do';
  return isOpen ? `${known} or more` : known;
}

/** `37/100 · 2 failed`; of a single finished call nothing, since its state says it all. */
export function countWords({ counts, total, state }: Standing): string {
  const done = settled(counts);
  const all = total ?? arrived(counts);
  if (state === 'not taken' || (all === 0 && total === null)) return '';
  if (all === 1 && total === 1 && done === 1) return '';
  const tail = (['failed', 'cancelled'] as const)
    .filter((name) => counts[name] > 0 && counts[name] < all)
    .map((name) => ` · ${count(counts[name])} ${name}`);
  const isMixed = counts.replayed > 0 && counts.computed > 0;
  const replayed = isMixed ? ` · ${count(counts.replayed)} replayed` : '';
  const head = total === null ? `${count(done)} so far` : `${count(done)}/${count(total)}`;
  return `${head}${replayed}${tail.join('')}`;
}

function timeWords(standing: Standing, now: number): string {
  const { state, startedAt, endedAt, etaSeconds, savedSeconds } = standing;
  if (state === 'replayed') return savedSeconds >= 0.001 ? `saved ${duration(savedSeconds)}` : '';
  if (startedAt === null) return '';
  if (state === 'running' || state === 'queued') {
    return etaSeconds === null ? duration(now - startedAt) : `${duration(etaSeconds)} left`; // both don't fit
  }
  return endedAt === null ? '' : duration(endedAt - startedAt);
}

/** The parts of a mapped node's bar; a node of one element has none, since its state says it all. */
export function segments({ counts, total }: Standing): readonly Segment[] {
  const all = Math.max(total ?? 0, arrived(counts));
  if (all <= 1) return [];
  return COUNTED.filter((state) => counts[state] > 0).map((state) => ({ state, fraction: counts[state] / all }));
}

function fraction(part: number, whole: number): number {
  return whole > 0 ? Math.min(Math.max(part / whole, 0), 1) : 0;
}

/** One button of the headline: how many nodes' elements are in a state. */
export interface Tally {
  readonly state: State;
  readonly n: number;
}

/** Elements per state over all nodes; before a run, stale nodes. Only states that there are. */
export function tallies(state: PanelState): readonly Tally[] {
  const found = new Map<State, number>();
  const add = (name: State, n: number): void => {
    if (n > 0) found.set(name, (found.get(name) ?? 0) + n);
  };
  for (const standing of Object.values(state.nodes)) {
    if (state.run === null || standing.state === 'stale' || standing.state === 'not taken') add(standing.state, 1);
    if (state.run !== null) for (const name of COUNTED) add(name, standing.counts[name]);
  }
  if (state.run === null) found.delete('waiting');
  return STATES.filter((name) => found.has(name)).map((name) => ({ state: name, n: found.get(name) ?? 0 }));
}

/** Whether a node has anything in a state: what the filter of the headline asks. */
export function hasState(standing: Standing | undefined, state: State): boolean {
  if (standing === undefined) return false;
  if (standing.state === state) return true;
  return (COUNTED as readonly string[]).includes(state) && standing.counts[state as keyof Counts] > 0;
}

/** `120/340` over all nodes, with `+` while more may come; empty before a run. */
export function progressWords(state: PanelState): string {
  if (state.run === null) return '';
  let done = 0;
  let all = 0;
  let isOpen = false;
  for (const { counts, total, state: own } of Object.values(state.nodes)) {
    done += settled(counts);
    all += total ?? arrived(counts);
    isOpen ||= total === null && own !== 'not taken';
  }
  return `${count(done)}/${count(all)}${isOpen && state.run.status === 'running' ? '+' : ''}`;
}

/** How fast it goes, and how long the rest takes, by the node that will take longest; empty while unknown. */
export function paceWords(state: PanelState): string {
  if (state.run?.status !== 'running') return '';
  const busy = Object.values(state.nodes).filter((node) => node.etaSeconds !== null && node.rate !== null);
  const slowest = busy.sort((a, b) => (b.etaSeconds ?? 0) - (a.etaSeconds ?? 0))[0];
  if (!slowest) return '';
  return `${rate(slowest.rate ?? 0)} · about ${duration(slowest.etaSeconds ?? 0)} left`;
}

/** What a whole run says when it is over, for the live region. */
export function endWords(state: PanelState): string {
  const run = state.run;
  if (run === null || run.status === 'running') return '';
  const failed = Object.values(state.nodes).reduce((sum, node) => sum + node.counts.failed, 0);
  const took = run.endedAt === null ? '' : ` after ${duration(run.endedAt - run.startedAt)}`;
  return `run of ${oneLine(state.graph.name, 80)} ${run.status}${took}${failed ? `, ${plural(failed, 'element')} failed` : ''}`;
}

/** The node whose failure a person should see first: in the order of the graph. */
export function firstFailure(state: PanelState): string | null {
  return state.graph.nodes.find((node) => (state.nodes[node.name]?.counts.failed ?? 0) > 0)?.name ?? null;
}

/** Nodes that lead to a node, and that follow it, itself included. */
export function related(state: PanelState, name: string): ReadonlySet<string> {
  const found = new Set([name]);
  const walk = (from: 'source' | 'target', to: 'source' | 'target'): void => {
    const open = [name];
    const seen = new Set(open);
    for (let at = open.pop(); at !== undefined; at = open.pop())
      for (const edge of state.graph.edges)
        if (edge[from] === at && !seen.has(edge[to])) {
          seen.add(edge[to]);
          found.add(edge[to]);
          open.push(edge[to]);
        }
  };
  walk('source', 'target');
  walk('target', 'source');
  return found;
}

/** Whether anything travelled along an edge: of a run, once its target got something or the run is over without. */
export function isTaken(state: PanelState, edge: { readonly source: string; readonly target: string }): boolean {
  if (state.run === null) return true;
  return state.nodes[edge.target]?.state !== 'not taken' && state.nodes[edge.source]?.state !== 'not taken';
}
