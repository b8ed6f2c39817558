/** A panel without a widget: drawn from a state that was saved or asked for, live as far as the kernel answers. */

import { type Kernel, KernelChannel } from './control';
import { h } from './dom';
import { Following } from './following';
import type { View } from './headline';
import { type PanelState, parseState } from './messages';
import { Panel } from './panel';

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
  private readonly following: Following;

  /** @param data - what a notebook holds, or the kernel answered; anything. */
  constructor(
    data: unknown,
    private readonly options: KernelPanelOptions,
  ) {
    const { signal } = this.gone;
    this.kernel = options.kernel;
    this.channel = new KernelChannel(options.kernel, () => false, signal);
    this.following = new Following(this.channel, signal, (state) => {
      this.state = { ...state, modelId: this.state?.modelId ?? null };
      this.panel?.update(this.state);
    });
    this.panel = this.draw(data, signal);
    this.follow();
  }

  /** Ask this kernel from now on. */
  use(kernel: Kernel | null): void {
    this.kernel = kernel;
    this.channel.use(kernel);
    this.follow();
  }

  dispose(): void {
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
        shown: (shown) => this.take(shown),
      });
    } catch (error) {
      this.element.replaceChildren(
        h(
          'div',
          { class: 'tlk-panel tlk-error-line', role: 'alert' },
          error instanceof Error ? error.message : String(error),
        ),
      );
      return null;
    }
  }

  private take(state: PanelState): void {
    this.state = state;
    if (state.modelId !== null) this.options.live?.(state.modelId);
    this.follow(); // until a widget steps into this panel's place, if one does
  }

  private follow(): void {
    if (this.kernel === null || this.state === null) this.following.stop();
    else this.following.begin(this.state);
  }
}
