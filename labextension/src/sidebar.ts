/** The sidebar: follows the current notebook's kernel, and asks it while something is to be seen. */

import type { INotebookTracker } from '@jupyterlab/notebook';
import { LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';
import { type Kernel, KernelChannel } from './control';
import type { GraphSummary, PanelState, RunSummary } from './messages';
import { SidebarView } from './sidebarView';
import { plain } from './words';

export const icon = new LabIcon({
  name: 'tensorlake-nb:graph',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16"><g class="jp-icon3" fill="none" stroke="#616161" stroke-width="2"><rect x="2.5" y="9" width="6" height="6" rx="1.5"/><rect x="15.5" y="3" width="6" height="6" rx="1.5"/><rect x="15.5" y="15" width="6" height="6" rx="1.5"/><path d="M8.5 12h3.5M12 12V6h3.5M12 12v6h3.5"/></g></svg>',
});

export interface SidebarHost {
  readonly tracker: INotebookTracker;
  /** Show a panel in the main area. */
  openState(title: string, state: PanelState, kernel: Kernel | null): void;
  openComparison(left: string, right: string, channel: KernelChannel): void;
  /** Seconds between looks while something runs. */
  every(): number;
}

const MOST_RUNS = 100;

export class Sidebar extends Widget {
  private readonly view: SidebarView;
  private kernel: Kernel | null = null;
  private channel: KernelChannel | null = null;
  private gone = new AbortController();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private isLooking = false;

  constructor(private readonly host: SidebarHost) {
    super();
    this.id = 'tensorlake-nb-sidebar';
    this.title.icon = icon;
    this.title.caption = 'Graphs and runs';
    this.addClass('tlk-sidebar');
    this.view = new SidebarView({
      openRun: (run) => void this.openRun(run),
      openGraph: (graph) => void this.openGraph(graph),
      resume: (run) => void this.resume(run),
      compare: (left, right) => {
        if (this.channel) host.openComparison(left, right, this.channel);
      },
      connect: () => void this.connect(),
      refresh: () => void this.look(),
    });
    this.node.append(this.view.element);
    this.node.addEventListener('keydown', (event) => {
      if (!event.ctrlKey && !event.metaKey && event.key !== 'Tab') event.stopPropagation();
    });
    host.tracker.currentChanged.connect(() => this.followNotebook());
  }

  /** The runs that were seen last, newest first. */
  runs: readonly RunSummary[] = [];

  protected override onAfterShow(): void {
    this.followNotebook();
    void this.look();
  }

  protected override onAfterAttach(): void {
    this.followNotebook();
  }

  override dispose(): void {
    this.gone.abort();
    super.dispose();
  }

  /** Something may have changed: look, if anybody sees it. */
  changed(): void {
    if (!this.isVisible) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.look(), 200);
  }

  /** Ask the kernel for its graphs and runs. */
  async look(): Promise<void> {
    this.followNotebook();
    const channel = this.channel;
    if (channel === null || this.isLooking || this.isDisposed) return;
    this.isLooking = true;
    try {
      const [graphs, runs] = await Promise.all([
        channel.ask<'graphs'>({ kind: 'graphs' }, this.gone.signal),
        channel.ask<'runs'>({ kind: 'runs', limit: MOST_RUNS }, this.gone.signal),
      ]);
      this.runs = runs;
      this.view.explain(null, false);
      this.view.update(graphs, runs);
      if (this.isVisible && runs.some((run) => run.status === 'running')) {
        if (this.timer !== null) clearTimeout(this.timer);
        this.timer = setTimeout(() => void this.look(), this.host.every() * 1000);
      }
    } catch (error) {
      if (channel === this.channel)
        this.view.explain(plain(error instanceof Error ? error.message : String(error)), channel.connect !== null);
    } finally {
      this.isLooking = false;
    }
  }

  /** The channel to the current notebook's kernel, made anew when that is another one. */
  followNotebook(): KernelChannel | null {
    const session = this.host.tracker.currentWidget?.sessionContext.session;
    const kernel = (session?.kernel ?? null) as unknown as Kernel | null;
    if (kernel === this.kernel) return this.channel;
    this.gone.abort();
    this.gone = new AbortController();
    this.kernel = kernel;
    this.channel = kernel === null ? null : new KernelChannel(kernel, () => false, this.gone.signal);
    this.runs = [];
    this.view.update([], []);
    this.view.explain(kernel === null ? 'No notebook with a kernel is open.' : null, false);
    kernel?.statusChanged?.connect(this.onStatus);
    if (this.isVisible) void this.look();
    return this.channel;
  }

  private readonly onStatus = (_: unknown, status: string): void => {
    if (status === 'idle') this.changed();
  };

  private async connect(): Promise<void> {
    await this.channel?.connect?.();
    await this.look();
  }

  private async openRun(run: RunSummary): Promise<void> {
    await this.attempt(async (channel) => {
      this.host.openState(
        `${run.graph} ${run.short}`,
        await channel.ask<'state'>({ kind: 'state', run: run.id }),
        this.kernel,
      );
    });
  }

  private async openGraph(graph: GraphSummary): Promise<void> {
    await this.attempt(async (channel) => {
      this.host.openState(graph.name, await channel.ask<'state'>({ kind: 'state', graph: graph.key }), this.kernel);
    });
  }

  private async resume(run: RunSummary): Promise<void> {
    await this.attempt(async (channel) => {
      this.host.openState(
        `${run.graph} ${run.short}`,
        await channel.ask<'resume'>({ kind: 'resume', run: run.id }),
        this.kernel,
      );
    });
    await this.look();
  }

  private async attempt(act: (channel: KernelChannel) => Promise<void>): Promise<void> {
    try {
      if (this.channel !== null) await act(this.channel);
    } catch (error) {
      this.view.explain(plain(error instanceof Error ? error.message : String(error)), false);
    }
  }
}
