/** The anywidget module: one live panel, in any front end that shows widgets. */

import { type CustomMessages, type Kernel, KernelChannel, ModelChannel } from './control';
import { h } from './dom';
import { Following } from './following';
import { type PanelState, parseDelta, parseState } from './messages';
import { Panel } from './panel';

/** What is used of anywidget's model. `widget_manager.kernel` is there in JupyterLab and Notebook 7, and not typed. */
interface Model extends CustomMessages {
  get(name: 'state'): unknown;
  on(event: 'change:state' | 'msg:custom', listener: (message: unknown) => void): void;
  off(event: 'change:state' | 'msg:custom', listener: (message: unknown) => void): void;
  readonly widget_manager?: unknown;
}

function render({ model, el }: { readonly model: Model; readonly el: HTMLElement }): () => void {
  const gone = new AbortController();
  const { signal } = gone;
  const root = h('div');
  el.append(root);
  let panel: Panel | null = null;
  let last: PanelState | null = null;
  const isBlocked = (): boolean => last?.run?.blocking ?? false;
  const kernel = (model.widget_manager as { kernel?: Kernel } | undefined)?.kernel;
  const channel = kernel
    ? new KernelChannel(kernel, isBlocked, signal, () => last?.modelId ?? null)
    : new ModelChannel(model, isBlocked, signal);

  const ownId = modelIdOf(model.get('state'));
  // After a restart of the kernel nothing is pushed to this model any more: what a click shows then is asked for.
  const following = new Following(channel, signal, (state) => {
    last = { ...state, modelId: last?.modelId ?? null };
    panel?.update(last);
  });
  const shown = (state: PanelState): void => {
    last = { ...state, modelId: state.modelId ?? last?.modelId ?? null };
    if (state.modelId === ownId) following.stop();
    else following.begin(state);
  };

  const guarded = (act: () => void): void => {
    try {
      act();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (panel) panel.fail(message);
      else root.replaceChildren(h('div', { class: 'tlk-panel tlk-error-line', role: 'alert' }, message));
    }
  };
  const take = (): void =>
    guarded(() => {
      following.stop();
      last = parseState(model.get('state'));
      if (panel) panel.update(last);
      else panel = new Panel(root, last, { channel, signal, shown });
    });
  const hear = (message: unknown): void =>
    guarded(() => {
      const delta = parseDelta(message);
      if (delta === null || panel === null || last === null) return;
      // changes of the run that the model is about; the panel may show another one by now
      if (delta.run !== undefined) last = { ...last, run: delta.run };
      panel.applyDelta(delta);
    });
  model.on('change:state', take);
  model.on('msg:custom', hear);
  signal.addEventListener('abort', () => {
    model.off('change:state', take);
    model.off('msg:custom', hear);
  });
  take();
  return () => gone.abort();
}

function modelIdOf(state: unknown): unknown {
  return typeof state === 'object' && state !== null ? (state as { modelId?: unknown }).modelId : null;
}

export default { render };
