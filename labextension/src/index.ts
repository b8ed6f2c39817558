/** The JupyterLab plugins: they only register what the other files make. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, MainAreaWidget } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookActions, type NotebookPanel } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Widget } from '@lumino/widgets';
import { showBadges, usesTensorlake } from './badges';
import { type Kernel, KernelChannel } from './control';
import type { View } from './headline';
import { KernelPanel } from './kernelPanel';
import type { GraphSummary, PanelState } from './messages';
import { listenToPanels } from './notebookActions';
import { RANK, rendererFactory } from './renderer';
import { icon, Sidebar } from './sidebar';
import { comparisonView } from './sidebarView';
import { oneLine } from './words';

namespace CommandIDs {
  export const showSidebar = 'tensorlake-nb:show-sidebar';
  export const openLatest = 'tensorlake-nb:open-latest-run';
  export const runGraph = 'tensorlake-nb:run-graph';
  export const cancel = 'tensorlake-nb:cancel-run';
  export const resume = 'tensorlake-nb:resume-latest-run';
  export const compare = 'tensorlake-nb:compare-latest-runs';
}

const CATEGORY = 'Tensorlake';
const PLUGIN = 'tensorlake-nb-labextension:plugin';

/** The settings in force; see schema/plugin.json. */
class Settings {
  badges = true;
  refreshSeconds = 2;
  view: View = 'graph';

  take(plain: Readonly<Record<string, unknown>>): void {
    this.badges = plain['badges'] !== false;
    this.refreshSeconds = typeof plain['refreshSeconds'] === 'number' ? plain['refreshSeconds'] : 2;
    this.view = plain['view'] === 'table' ? 'table' : 'graph';
  }
}

const plugin: JupyterFrontEndPlugin<void> = {
  id: PLUGIN,
  description: 'Draws the graphs and runs of tensorlake_nb, lists them, and marks the cells that make them.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [INotebookTracker, ISettingRegistry, ICommandPalette],
  activate,
};

function activate(
  app: JupyterFrontEnd,
  rendermime: IRenderMimeRegistry,
  tracker: INotebookTracker | null,
  registry: ISettingRegistry | null,
  palette: ICommandPalette | null,
): void {
  const settings = new Settings();
  void registry?.load(PLUGIN).then((loaded) => {
    const take = (): void => settings.take(loaded.composite);
    take();
    loaded.changed.connect(take);
  });
  rendermime.addFactory(rendererFactory({ tracker, view: () => settings.view }), RANK);
  document.documentElement.dataset['tensorlakeNb'] = app.version;
  if (tracker === null) return;
  listenToPanels(tracker, new AbortController().signal);
  const sidebar = addSidebar(app, tracker, settings);
  addBadges(tracker, settings, sidebar);
  addCommands(app, sidebar, palette);
}

function addSidebar(app: JupyterFrontEnd, tracker: INotebookTracker, settings: Settings): Sidebar {
  const open = (title: string, body: HTMLElement, dispose: () => void): void => {
    const content = new Widget();
    content.addClass('tlk-main-area');
    content.node.append(body);
    content.disposed.connect(dispose);
    const shown = new MainAreaWidget({ content });
    shown.title.label = oneLine(title, 40);
    shown.title.icon = icon;
    shown.title.closable = true;
    app.shell.add(shown, 'main', { mode: 'split-right' });
    app.shell.activateById(shown.id);
  };
  const openState = (title: string, state: PanelState, kernel: Kernel | null): void => {
    const panel = new KernelPanel(state, { kernel, view: settings.view });
    open(title, panel.element, () => panel.dispose());
  };
  const sidebar = new Sidebar({
    tracker,
    every: () => settings.refreshSeconds,
    openState,
    openComparison: (left, right, channel) => {
      void channel.ask<'compare'>({ kind: 'compare', left, right }).then((found) => {
        open(`${found.left.short} and ${found.right.short}`, comparisonView(found), () => undefined);
      });
    },
  });
  app.shell.add(sidebar, 'left', { rank: 601 });
  return sidebar;
}

function addBadges(tracker: INotebookTracker, settings: Settings, sidebar: Sidebar): void {
  const channels = new WeakMap<object, KernelChannel>();
  const look = async (panel: NotebookPanel): Promise<void> => {
    const kernel = panel.sessionContext.session?.kernel;
    if (!kernel || !settings.badges || panel.isDisposed || !usesTensorlake(panel)) return showBadges(panel, []);
    let channel = channels.get(kernel);
    if (!channel) {
      const gone = new AbortController();
      kernel.disposed.connect(() => gone.abort());
      channel = new KernelChannel(kernel as unknown as Kernel, () => false, gone.signal);
      channels.set(kernel, channel);
    }
    const graphs: readonly GraphSummary[] = await channel.ask<'graphs'>({ kind: 'graphs' }).catch(() => []);
    if (channel.obstacle !== null) channels.delete(kernel); // it may know us after the next cell
    if (!panel.isDisposed) showBadges(panel, graphs);
  };
  NotebookActions.executed.connect((_, { notebook }) => {
    const panel = tracker.find((each) => each.content === notebook);
    if (panel) void look(panel);
    sidebar.changed();
  });
  document.addEventListener('tensorlake-nb:changed', () => {
    if (tracker.currentWidget) void look(tracker.currentWidget);
    sidebar.changed();
  });
}

function addCommands(app: JupyterFrontEnd, sidebar: Sidebar, palette: ICommandPalette | null): void {
  const show = (): void => {
    app.shell.activateById(sidebar.id);
  };
  /** Press a button of the run that is nearest: in the sidebar's list, else in the last panel of the page. */
  const press = (action: string): void => {
    const found = [
      ...document.querySelectorAll<HTMLButtonElement>(
        `.tlk-panel button[data-action="${action}"]:not([aria-disabled])`,
      ),
    ].filter((button) => !button.hidden);
    found[found.length - 1]?.click();
  };
  const commands: readonly { readonly id: string; readonly label: string; execute(): unknown }[] = [
    { id: CommandIDs.showSidebar, label: 'Show Graphs and Runs', execute: show },
    {
      id: CommandIDs.openLatest,
      label: 'Open the Panel of the Latest Run',
      execute: async () => {
        show();
        await sidebar.look();
        sidebar.node.querySelector<HTMLElement>('.tlk-run-row .tlk-row-title')?.click();
      },
    },
    { id: CommandIDs.runGraph, label: 'Run the Graph in View', execute: () => press('run') },
    { id: CommandIDs.cancel, label: 'Cancel the Run', execute: () => press('cancel') },
    { id: CommandIDs.resume, label: 'Resume the Run in View', execute: () => press('resume') },
    {
      id: CommandIDs.compare,
      label: 'Compare the Two Latest Runs',
      execute: async () => {
        show();
        await sidebar.look();
        const boxes = [...sidebar.node.querySelectorAll<HTMLInputElement>('.tlk-run-row input')];
        boxes.forEach((box, i) => {
          if (box.checked !== i < 2) box.click();
        });
        sidebar.node.querySelector<HTMLElement>('[data-action=compare]')?.click();
      },
    },
  ];
  for (const { id, label, execute } of commands) {
    app.commands.addCommand(id, { label, execute });
    palette?.addItem({ command: id, category: CATEGORY });
  }
}

export default plugin;
