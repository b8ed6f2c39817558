/**
 * What crosses between the kernel and a panel: one state that is set whole now and then, deltas in between,
 * and requests with one reply each. The kernel's side of it is `tensorlake_nb/notebook/panel/messages.py`; both read the
 * files in `tests/conformance/panel/`, so that neither drifts alone.
 *
 * Times are seconds since the epoch, durations seconds, unless a name says otherwise.
 */

import { byName, flag, listOf, number, oneOf, optional, orNull, type Read, record, shape, text } from './narrow';

/** Raised on both sides when a message can't be read by the other side any more. */
export const VERSION = 1;

/** The MIME type under which a notebook keeps a panel's last state. */
export const MIME_TYPE = 'application/vnd.tensorlake.graph+json';

/** The comm that the browser opens for requests; the kernel answers on it, and never speaks first. */
export const CONTROL_TARGET = 'tensorlake.control';

const nodeKind = oneOf('function', 'router', 'reducer');
export type NodeKind = ReturnType<typeof nodeKind>;

const state = oneOf(
  'waiting',
  'queued',
  'running',
  'computed',
  'replayed',
  'stale',
  'failed',
  'cancelled',
  'not taken',
);
export type State = ReturnType<typeof state>;

const runStatus = oneOf('running', 'succeeded', 'failed', 'cancelled', 'interrupted');
export type RunStatus = ReturnType<typeof runStatus>;

export interface GraphNode {
  readonly name: string;
  readonly kind: NodeKind;
  /** What its author says of it; empty if nothing. */
  readonly about: string;
  /** Retries, timeout, placement and the like, those that aren't the default, as words. */
  readonly options: Readonly<Record<string, string>>;
}

export interface GraphEdge {
  readonly source: string;
  readonly target: string;
  /** The parameter that it feeds, of a join. */
  readonly into: string | null;
  /** Taken only by the elements that the source sends there. */
  readonly routed: boolean;
}

export interface GraphShape {
  readonly name: string;
  readonly about: string;
  readonly start: string;
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  /** Why it can't run; empty if it can. */
  readonly problems: readonly string[];
}

/** How many elements of a node are where; they add up to what has arrived so far. */
export interface Counts {
  readonly waiting: number;
  readonly queued: number;
  readonly running: number;
  readonly computed: number;
  readonly replayed: number;
  readonly failed: number;
  readonly cancelled: number;
}

/** How one node stands: its size doesn't depend on the number of its elements. */
export interface Standing {
  readonly state: State;
  readonly counts: Counts;
  /** Elements in all; null until no further one can arrive. */
  readonly total: number | null;
  /** Outputs given so far. */
  readonly outputs: number;
  /** Time in calls so far, all workers together. */
  readonly seconds: number;
  /** From the first call's begin to the last one's end, or to now; null before the first. */
  readonly startedAt: number | null;
  readonly endedAt: number | null;
  /** Time that its batches waited for a worker, all together. */
  readonly queuedSeconds: number;
  /** Attempts beyond the first. */
  readonly retries: number;
  /** Elements settled per second lately, and how long the rest will take; null while too few are finished. */
  readonly rate: number | null;
  readonly etaSeconds: number | null;
  /** Compute that was saved by replaying, and the run that had paid for it. */
  readonly savedSeconds: number;
  readonly savedBy: string;
  /** What the call that reported last said of its progress (`ctx.update_progress`). */
  readonly progress: { readonly current: number; readonly total: number } | null;
  /** The first failure: `TypeName: message`. */
  readonly error: string | null;
  /** A sentence each: that its digests are pickled, that something of it isn't seen, and the like. */
  readonly notes: readonly string[];
  /** Of a graph before a run: why it is stale; empty if it isn't. */
  readonly stale: string;
}

export interface RunHead {
  readonly id: string;
  /** The end of the id that is enough to tell it from others. */
  readonly short: string;
  readonly status: RunStatus;
  readonly startedAt: number;
  readonly endedAt: number | null;
  readonly error: string | null;
  /** A cell waits for this run, so the kernel hears of a click only on a subshell. */
  readonly blocking: boolean;
  /** What it does before its first call (starting the cluster and the like); empty when there is nothing to say. */
  readonly doing: string;
  /** The nodes that took the time that the whole run took, first to last. */
  readonly criticalPath: readonly string[];
}

export type Action = 'run' | 'cancel' | 'force' | 'resume' | 'again' | 'refresh' | 'rerunFailed' | 'plan';

/** Why an action can't be taken now; null when it can. */
export type Actions = Readonly<Record<Action, string | null>>;

/** A run's inputs as a JSON schema (of pydantic's making), and the values to begin with. */
export interface InputForm {
  readonly schema: JsonSchema;
  readonly values: Readonly<Record<string, unknown>>;
}

export type JsonSchema = Readonly<Record<string, unknown>>;

export interface PanelState {
  readonly version: typeof VERSION;
  /** The anywidget model that draws it live, if the kernel that made it still runs. */
  readonly modelId: string | null;
  /** The variable, or else the name, by which the kernel finds the graph; null if it has none. */
  readonly graphKey: string | null;
  readonly graph: GraphShape;
  readonly run: RunHead | null;
  readonly nodes: Readonly<Record<string, Standing>>;
  readonly actions: Actions;
  readonly form: InputForm | null;
  /** The kernel's clock when this was made. */
  readonly at: number;
}

/** What has changed since the last message: every field that is there replaces the one before. */
export interface Delta {
  readonly version: typeof VERSION;
  readonly kind: 'delta';
  readonly at: number;
  readonly run?: RunHead | null;
  /** The nodes that changed, whole. */
  readonly nodes?: Readonly<Record<string, Standing>>;
  readonly actions?: Actions;
}

// --- requests ------------------------------------------------------------------------------------------------------

export type ElementFilter = 'all' | 'failed' | 'running' | 'waiting' | 'computed' | 'replayed' | 'cancelled';

/** What a click asks for. `run` is a whole run id, `graph` a graph key. */
export type Request =
  | { readonly kind: 'state'; readonly run?: string; readonly graph?: string }
  | { readonly kind: 'node'; readonly run: string; readonly node: string }
  | {
      readonly kind: 'elements';
      readonly run: string;
      readonly node: string;
      readonly filter: ElementFilter;
      readonly start: number;
      readonly count: number;
    }
  | {
      readonly kind: 'value';
      readonly run: string;
      readonly node: string;
      /** Which: the outputs that the node gave, or what came to one of its elements. */
      readonly side: 'output' | 'input';
      readonly index: number;
    }
  | { readonly kind: 'logs'; readonly run: string; readonly node: string; readonly after: number }
  | { readonly kind: 'why'; readonly run: string; readonly node: string }
  | { readonly kind: 'timeline'; readonly run: string }
  | { readonly kind: 'plan'; readonly graph: string; readonly inputs: Readonly<Record<string, unknown>> }
  | { readonly kind: 'validate'; readonly graph: string; readonly inputs: Readonly<Record<string, unknown>> }
  | { readonly kind: 'run'; readonly graph: string; readonly inputs: Readonly<Record<string, unknown>> }
  | { readonly kind: 'cancel'; readonly run: string; readonly force: boolean }
  | { readonly kind: 'resume'; readonly run: string }
  /** A new run with the same inputs that computes this node and all that follows anew. */
  | { readonly kind: 'again'; readonly run: string; readonly node: string }
  /** The same for this node alone; what follows is computed where its outputs differ. */
  | { readonly kind: 'refresh'; readonly run: string; readonly node: string }
  | { readonly kind: 'rerunFailed'; readonly run: string }
  | { readonly kind: 'runs'; readonly limit: number }
  | { readonly kind: 'graphs' }
  | { readonly kind: 'compare'; readonly left: string; readonly right: string };

export type RequestKind = Request['kind'];

/** What each request is answered with. */
export interface Replies {
  readonly state: PanelState;
  readonly node: NodeDetail;
  readonly elements: ElementPage;
  readonly value: ShownValue;
  readonly logs: LogPage;
  readonly why: Why;
  readonly timeline: Timeline;
  readonly plan: Plan;
  readonly validate: Validation;
  /** The state of the run that was begun: the panel shows it from now on. */
  readonly run: PanelState;
  readonly cancel: null;
  readonly resume: PanelState;
  readonly again: PanelState;
  readonly refresh: PanelState;
  readonly rerunFailed: PanelState;
  readonly runs: readonly RunSummary[];
  readonly graphs: readonly GraphSummary[];
  readonly compare: Comparison;
}

/** On the wire: `{version, id, ...request}`, and back `{version, id, ok: true, body}` or `{..., ok: false, error}`. */
export type Reply<K extends RequestKind> =
  | { readonly version: number; readonly id: string; readonly ok: true; readonly body: Replies[K] }
  | { readonly version: number; readonly id: string; readonly ok: false; readonly error: string };

export interface FailureDetail {
  /** Which element of the node's input stream, from 0. */
  readonly index: number;
  /** A short form of what it was given. */
  readonly input: string;
  /** How many attempts were made. */
  readonly attempts: number;
  /** `error`, `timeout`, `worker lost`, `request`, `usage` or `damage`. */
  readonly kind: string;
  readonly error: string;
  /** The frames of the user's own code, then everything. */
  readonly userTraceback: string;
  readonly traceback: string;
}

export interface NodeDetail {
  readonly node: string;
  readonly outputs: number;
  /** How many elements came to it so far. */
  readonly inputs: number;
  /** The first failures, and how many there are in all. */
  readonly failures: readonly FailureDetail[];
  readonly nFailed: number;
  readonly logLines: number;
  /** What its calls timed (seconds) and counted. */
  readonly timers: Readonly<Record<string, number>>;
  readonly counters: Readonly<Record<string, number>>;
  /** Where the function is defined: its name in the source, and the source itself, to find its cell by. */
  readonly definedAs: string;
  readonly source: string;
  /** Python that gives all its outputs in a cell. */
  readonly snippet: string;
}

export interface ElementRow {
  readonly index: number;
  readonly state: State;
  /** Of its call; of a batch of many the mean. Null while unknown. */
  readonly seconds: number | null;
  readonly attempts: number;
  readonly worker: string;
  /** `TypeName: message`, of a failed one. */
  readonly error: string | null;
  /** The outputs that it gave: the first one's index, and how many; null where that isn't known. */
  readonly output: number | null;
  readonly outputs: number;
}

/** Rows `start` to `start + rows.length` of `total`: failed first, then running, then the slowest. */
export interface ElementPage {
  readonly start: number;
  readonly total: number;
  readonly rows: readonly ElementRow[];
}

/** A value as the cell would show it: text by MIME type, base64 for pictures; cut at some size. */
export interface ShownValue {
  readonly index: number;
  readonly typeName: string;
  /** `size_bytes` of arrays, lengths of lists, as words; empty if there is nothing to say. */
  readonly about: string;
  readonly data: Readonly<Record<string, string>>;
  readonly isCut: boolean;
  /** Python that gives this value in a cell. */
  readonly snippet: string;
}

export interface LogEntry {
  readonly stream: 'stdout' | 'stderr' | 'log' | 'warning';
  readonly text: string;
}

/** The last lines, those after line `after` of all that were kept; `next` is what to ask for next. */
export interface LogPage {
  readonly lines: readonly LogEntry[];
  readonly next: number;
}

export interface Why {
  readonly node: string;
  /** One sentence. */
  readonly summary: string;
  /** The first node upstream that is the cause of it; null if it is this one, or nothing was computed. */
  readonly cause: string | null;
  readonly since: string | null;
  readonly changes: readonly { readonly what: string; readonly diff: string }[];
  /** What of the function can't be seen, and so not noticed when it changes. */
  readonly opaque: readonly string[];
}

export interface Bar {
  readonly node: string;
  readonly worker: string;
  readonly submittedAt: number;
  readonly startedAt: number;
  readonly endedAt: number | null;
  readonly elements: number;
  readonly attempt: number;
  readonly outcome: 'computed' | 'failed' | 'lost' | 'running';
}

/** What ran when, and where; at most some thousand bars, neighbours joined where there were more. */
export interface Timeline {
  readonly from: number;
  readonly to: number;
  readonly bars: readonly Bar[];
  readonly isJoined: boolean;
}

export interface PlanRow {
  readonly replayed: number;
  readonly toCompute: number;
  /** More may come, depending on what is computed before it. */
  readonly isOpen: boolean;
  readonly seconds: number | null;
}

export interface Plan {
  readonly nodes: Readonly<Record<string, PlanRow>>;
  /** Compute in all that is known, and about how long it takes on the cluster's workers. */
  readonly seconds: number | null;
  readonly wallSeconds: number | null;
}

/** What is wrong with inputs: by name, and what belongs to none; both empty when they are right. */
export interface Validation {
  readonly fields: Readonly<Record<string, string>>;
  readonly problems: readonly string[];
}

export interface RunSummary {
  readonly id: string;
  readonly short: string;
  readonly graph: string;
  readonly status: RunStatus;
  readonly startedAt: number;
  readonly endedAt: number | null;
  readonly computed: number;
  readonly replayed: number;
  readonly failed: number;
  readonly error: string | null;
  /** A short form of its inputs. */
  readonly inputs: string;
  /** Another process drives it. */
  readonly isElsewhere: boolean;
}

export interface GraphSummary {
  readonly key: string;
  readonly name: string;
  readonly functions: readonly string[];
  /** Told first: `fresh` (the last run has all of it), `stale`, `failed`, `running`, `new` (never run). */
  readonly state: 'fresh' | 'stale' | 'failed' | 'running' | 'new';
  /** The nodes that are stale. */
  readonly stale: readonly string[];
  readonly lastRun: string | null;
  readonly problems: readonly string[];
}

export interface Comparison {
  readonly left: RunSummary;
  readonly right: RunSummary;
  /** Inputs that differ, by name, as short forms; null where a run has no such input. */
  readonly inputs: readonly { readonly name: string; readonly left: string | null; readonly right: string | null }[];
  readonly nodes: readonly {
    readonly node: string;
    /** What differs in its code, each with a diff; empty if nothing. */
    readonly changes: readonly { readonly what: string; readonly diff: string }[];
    /** Null where a run has no such node. */
    readonly left: NodeNumbers | null;
    readonly right: NodeNumbers | null;
  }[];
}

export interface NodeNumbers {
  readonly computed: number;
  readonly replayed: number;
  readonly failed: number;
  readonly outputs: number;
  readonly seconds: number;
}

// --- reading -------------------------------------------------------------------------------------------------------

/** A message of a version that this side doesn't know. */
export class VersionMismatch extends Error {
  constructor(readonly theirs: unknown) {
    const older = typeof theirs === 'number' && theirs < VERSION;
    super(
      older
        ? 'This was made by an older tensorlake_nb than the page has: upgrade it in the kernel, and restart the kernel.'
        : 'This was made by a newer tensorlake_nb than the page has: upgrade it where Jupyter runs, and reload the page.',
    );
    this.name = 'VersionMismatch';
  }
}

const counts = shape<Counts>({
  waiting: number,
  queued: number,
  running: number,
  computed: number,
  replayed: number,
  failed: number,
  cancelled: number,
});

const standing = shape<Standing>({
  state,
  counts,
  total: orNull(number),
  outputs: number,
  seconds: number,
  startedAt: orNull(number),
  endedAt: orNull(number),
  queuedSeconds: number,
  retries: number,
  rate: orNull(number),
  etaSeconds: orNull(number),
  savedSeconds: number,
  savedBy: text,
  progress: orNull(shape({ current: number, total: number })),
  error: orNull(text),
  notes: listOf(text),
  stale: text,
});

const runHead = shape<RunHead>({
  id: text,
  short: text,
  status: runStatus,
  startedAt: number,
  endedAt: orNull(number),
  error: orNull(text),
  blocking: flag,
  doing: text,
  criticalPath: listOf(text),
});

const graphShape = shape<GraphShape>({
  name: text,
  about: text,
  start: text,
  nodes: listOf(
    shape<GraphNode>({
      name: text,
      kind: nodeKind,
      about: text,
      options: byName(text),
    }),
  ),
  edges: listOf(shape<GraphEdge>({ source: text, target: text, into: orNull(text), routed: flag })),
  problems: listOf(text),
});

const reason = orNull(text);
const actions = shape<Actions>({
  run: reason,
  cancel: reason,
  force: reason,
  resume: reason,
  again: reason,
  refresh: reason,
  rerunFailed: reason,
  plan: reason,
});

const version: Read<typeof VERSION> = (value) => {
  if (value !== VERSION) throw new VersionMismatch(value);
  return VERSION;
};

const panelState = shape<PanelState>({
  version,
  modelId: orNull(text),
  graphKey: orNull(text),
  graph: graphShape,
  run: orNull(runHead),
  nodes: byName(standing),
  actions,
  form: orNull(shape<InputForm>({ schema: record, values: record })),
  at: number,
});

const delta = shape<Delta>({
  version,
  kind: oneOf('delta'),
  at: number,
  run: optional(orNull(runHead)),
  nodes: optional(byName(standing)),
  actions: optional(actions),
});

/**
 * Narrow what came from the kernel or from a saved notebook.
 *
 * @throws VersionMismatch if another version wrote it, TypeError if it is something else.
 */
export function parseState(value: unknown): PanelState {
  return panelState(value, 'the panel state');
}

/** Narrow a message that a live panel is sent; null if it is none about a change. */
export function parseDelta(value: unknown): Delta | null {
  if (typeof value !== 'object' || value === null || !('kind' in value) || value.kind !== 'delta') return null;
  return delta(value, 'the change');
}

/** Narrow a reply to a request, wherever it came from; null if it is none. */
export function parseReply(value: unknown): Reply<RequestKind> | null {
  if (typeof value !== 'object' || value === null) return null;
  const { id, ok } = value as { id?: unknown; ok?: unknown };
  if (typeof id !== 'string' || typeof ok !== 'boolean') return null;
  return value as Reply<RequestKind>;
}

/** The state after a change. */
export function applyDelta(state: PanelState, delta: Delta): PanelState {
  return {
    ...state,
    at: delta.at,
    run: delta.run === undefined ? state.run : delta.run,
    nodes: delta.nodes === undefined ? state.nodes : { ...state.nodes, ...delta.nodes },
    actions: delta.actions ?? state.actions,
  };
}
