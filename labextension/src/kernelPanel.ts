/** A panel without a widget: drawn from a state that was saved or asked for, live as far as the kernel answers. */

import { type Kernel, KernelChannel } from './control';
import { h } from './dom';
import { type PanelState, parseState } from './messages';
import { Panel } from './panel';
import type { View } from './headline';

const ASK_EVERY_MS = 1_000;

export interface KernelPanelOptions {
  readonly kernel: Kernel | null;
  readonly view?: View;
  /** A click began something that a widget of the kernel can draw live. */
  live?(modelId: string): void;
}

export class KernelPanel {
  readonly element = h('div');
  private readonly gone = new AbortController();
  private readonly panel: Panel | null;
  private readonly channel: KernelChannel;
  private state: PanelState | null = null;
  private kernel: Kernel | null;
  private timer: ReturnType<typeof setTimeout> | null = null;

  /** @param data - what a notebook holds, or the kernel answered; anything. */
  constructor(data: unknown, private readonly options: KernelPanelOptions) {
    const { signal } = this.gone;
    this.kernel = options.kernel;
    this.channel = new KernelChannel(options.kernel, () => false, signal);
    this.panel = this.draw(data, signal);
    this.followSoon();
  }

  /** Ask this kernel from now on. */
  use(kernel: Kernel | null): void {
    this.kernel = kernel;
    this.channel.use(kernel);
    this.followSoon();
  }

  dispose(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.gone.abort();
    this.element.remove();
  }

  private draw(data: unknown, signal: AbortSignal): Panel | null {
    try {
      const state = parseState(data);
      // nobody waits for what was saved
      this.state = { ...state, run: state.run && { ...state.run, blocking: false } };
      return new Panel(this.element, this.state, {
        channel: this.channel,
        signal,
        view: this.options.view,
        shown: shown => this.take(shown)
      });
    } catch (error) {
      this.element.replaceChildren(h('div', { class: 'tlk-panel tlk-error-line', role: 'alert' }, error instanceof Error ? error.message : String(error)));
      return null;
    }
  }

  private take(state: PanelState): void {
    this.state = state;
    if (state.modelId !== null && this.options.live) this.options.live(state.modelId);
    else this.followSoon();
  }

  /** While a run goes on and nothing is pushed, ask. */
  private followSoon(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    if (this.state?.run?.status !== 'running' || this.kernel === null) return;
    this.timer = setTimeout(() => void this.follow(), ASK_EVERY_MS);
  }

  private async follow(): Promise<void> {
    const run = this.state?.run?.id;
    if (run === undefined || this.gone.signal.aborted) return;
    try {
      const state = parseState(await this.channel.ask<'state'>({ kind: 'state', run }, this.gone.signal));
      this.state = { ...state, modelId: this.state?.modelId ?? null };
      this.panel?.update(this.state);
    } catch {
      return; // the panel says what is in the way
    }
    this.followSoon();
  }
}
