/** What the parts of a panel give to each other. */

import type { Action, ElementFilter, PanelState, Plan, Replies, Request, RequestKind } from './messages';

/** A way to ask the kernel; see `control.ts`. */
export interface Channel {
  /** Ask; rejects with an Error that a person can read. After `signal` aborts, nothing comes any more. */
  ask<K extends RequestKind>(request: Extract<Request, { kind: K }>, signal?: AbortSignal): Promise<Replies[K]>;
  /** Why nothing can be asked now; null if it can. */
  readonly obstacle: string | null;
  onObstacle(listener: (obstacle: string | null) => void, signal: AbortSignal): void;
  /** What to do against the obstacle, if a click can do something. */
  readonly connect: (() => Promise<void>) | null;
}

/** A part of a panel that follows its state. */
export interface Pane {
  readonly element: HTMLElement;
  update(state: PanelState): void;
  dispose(): void;
}

export interface PaneContext {
  readonly channel: Channel;
  /** Aborts with the panel. */
  readonly signal: AbortSignal;
  state(): PanelState;
  /** Do something for which there may be a reason not to: see `PanelState.actions`. */
  act(action: Action, node?: string): void;
  /** Show another run, or another state of this one. */
  show(state: PanelState): void;
  /** Write what a run would do into the boxes; null takes it away. */
  plan(plan: Plan | null): void;
  select(node: string | null, filter?: ElementFilter): void;
  /** Say something to those who don't see it. */
  announce(text: string): void;
}

/** Say something to the notebook around the panel; true if it did it. */
export function tell(
  from: Element,
  name: 'jump' | 'insert' | 'open',
  detail: Readonly<Record<string, string>>,
): boolean {
  return !from.dispatchEvent(new CustomEvent(`tensorlake-nb:${name}`, { detail, bubbles: true, cancelable: true }));
}

/** Whether the extension that hears `tell` is on this page. */
export function hasNotebook(): boolean {
  return document.documentElement.dataset['tensorlakeNb'] !== undefined;
}
