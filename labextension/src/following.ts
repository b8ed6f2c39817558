/** Asks the kernel how a run stands, as long as it goes on and nothing is pushed. */

import { type PanelState, parseState } from './messages';
import type { Channel } from './panes';

const ASK_EVERY_MS = 1_000;
/** A kernel that gave no answer is asked after twice the time each time, up to this. */
const MOST_MS = 60_000;

export class Following {
  private timer: ReturnType<typeof setTimeout> | null = null;

  /** @param update - shows what was answered. */
  constructor(
    private readonly channel: Channel,
    private readonly signal: AbortSignal,
    private readonly update: (state: PanelState) => void,
  ) {
    signal.addEventListener('abort', () => this.stop());
  }

  /** Ask until the run of this state is over, instead of what was asked before. */
  begin(state: PanelState): void {
    this.stop();
    const run = state.run;
    if (run?.status === 'running' && !this.signal.aborted) this.askIn(ASK_EVERY_MS, run.id);
  }

  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private askIn(pauseMs: number, run: string): void {
    const timer = setTimeout(() => void this.ask(run, pauseMs, timer), pauseMs);
    this.timer = timer;
  }

  private async ask(run: string, pauseMs: number, timer: ReturnType<typeof setTimeout>): Promise<void> {
    let state: PanelState | null = null;
    try {
      state = parseState(await this.channel.ask<'state'>({ kind: 'state', run }, this.signal));
    } catch {
      // the panel says what is in the way, and a kernel that was busy may answer yet
    }
    if (this.timer !== timer) return; // something else is followed by now, or nothing
    if (state === null) {
      this.askIn(Math.min(2 * pauseMs, MOST_MS), run);
      return;
    }
    this.update(state);
    this.begin(state);
  }
}
