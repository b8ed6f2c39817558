/**
 * Draws saved graphs and runs. If the kernel that made a panel still runs, its live widget is drawn instead: this
 * renderer comes before the one for widgets, so that a notebook without its kernel never shows an error in its place.
 */

import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { MimeModel } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { Panel as LuminoPanel, type Widget } from '@lumino/widgets';
import type { Kernel } from './control';
import type { View } from './headline';
import { KernelPanel } from './kernelPanel';
import { MIME_TYPE } from './messages';

const WIDGET_VIEW = 'application/vnd.jupyter.widget-view+json';
/** Before ipywidgets' own rank, -10. */
export const RANK = -20;

export interface RendererOptions {
  readonly tracker: INotebookTracker | null;
  view(): View;
}

export function rendererFactory(options: RendererOptions): IRenderMime.IRendererFactory {
  return {
    safe: true, // text only ever becomes text, so untrusted notebooks may be drawn as well
    mimeTypes: [MIME_TYPE],
    createRenderer: () => new GraphRenderer(options),
  };
}

class GraphRenderer extends LuminoPanel implements IRenderMime.IRenderer {
  private data: unknown = null;
  private still: KernelPanel | null = null;
  private live: Widget | null = null;
  private modelId: string | null = null;
  private observer: MutationObserver | null = null;
  private heard: NotebookPanel['sessionContext']['kernelChanged'] | null = null;

  constructor(private readonly options: RendererOptions) {
    super();
    this.addClass('tlk-rendered');
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.data = model.data[MIME_TYPE];
    if (this.isAttached) await this.draw();
  }

  protected override onAfterAttach(): void {
    this.heard?.disconnect(this.onKernel);
    this.heard = this.notebook()?.sessionContext.kernelChanged ?? null;
    this.heard?.connect(this.onKernel);
    void this.draw();
  }

  /** A page that was opened draws before its kernel is there. */
  private readonly onKernel = (): void => {
    if (!this.isAttached || this.isLive()) return;
    this.still?.use(this.kernel());
    const wanted = idOf(this.data);
    if (wanted !== null) void this.enliven(wanted);
  };

  private kernel(): Kernel | null {
    return (this.notebook()?.sessionContext.session?.kernel ?? null) as unknown as Kernel | null;
  }

  override dispose(): void {
    this.heard?.disconnect(this.onKernel);
    this.clear();
    super.dispose();
  }

  private notebook(): NotebookPanel | null {
    return this.options.tracker?.find((panel) => panel.node.contains(this.node)) ?? null;
  }

  private async draw(): Promise<void> {
    const wanted = idOf(this.data);
    if (this.live !== null && wanted !== null && wanted === this.modelId && this.isLive()) return; // the widget follows by itself
    this.clear();
    this.still = new KernelPanel(this.data, {
      kernel: this.kernel(),
      view: this.options.view(),
      live: (modelId) => void this.enliven(modelId),
    });
    this.node.append(this.still.element);
    if (wanted !== null) await this.enliven(wanted);
  }

  /** Let the notebook's renderer of widgets draw the model, and step aside once it has. */
  private async enliven(modelId: string): Promise<void> {
    const factory = this.notebook()?.content.rendermime.getFactory(WIDGET_VIEW);
    const rendermime = this.notebook()?.content.rendermime;
    if (!factory || !rendermime) return;
    const renderer = rendermime.createRenderer(WIDGET_VIEW);
    renderer.addClass('tlk-enlivened');
    this.live?.dispose();
    this.live = renderer;
    this.modelId = modelId;
    this.observer?.disconnect();
    this.observer = new MutationObserver(() => this.stepAside());
    this.observer.observe(renderer.node, { childList: true, subtree: true });
    this.addWidget(renderer);
    const view = { version_major: 2, version_minor: 0, model_id: modelId };
    await renderer.renderModel(new MimeModel({ data: { [WIDGET_VIEW]: view } }));
    this.stepAside();
  }

  private isLive(): boolean {
    return this.live?.node.querySelector('.tlk-panel') !== null;
  }

  private stepAside(): void {
    if (!this.isLive()) return;
    this.observer?.disconnect();
    this.still?.dispose();
    this.still = null;
  }

  private clear(): void {
    this.observer?.disconnect();
    this.still?.dispose();
    this.live?.dispose();
    this.still = this.live = this.modelId = null;
  }
}

function idOf(data: unknown): string | null {
  const id = typeof data === 'object' && data !== null ? (data as { modelId?: unknown }).modelId : null;
  return typeof id === 'string' ? id : null;
}
