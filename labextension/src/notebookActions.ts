/** What a panel asks of the notebook around it: go to a cell, put a new one. */

import type { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';

/** The last cell that defines a name; -1 if none does. */
export function definingCell(sources: readonly string[], name: string): number {
  const escaped = name.replace(/[^\w]/g, '\\$&');
  const defines = new RegExp(`^\\s*(?:async\\s+def|def|class)\\s+${escaped}\\b|^${escaped}\\s*=`, 'm');
  return sources.reduce((found, source, i) => (defines.test(source) ? i : found), -1);
}

/** Hear the panels of a page; each event that was acted on is marked so. */
export function listenToPanels(tracker: INotebookTracker, signal: AbortSignal): void {
  const around = (event: Event): NotebookPanel | null => {
    const target = event.target instanceof Node ? event.target : null;
    return tracker.find((panel) => target !== null && panel.node.contains(target)) ?? tracker.currentWidget;
  };
  const text = (event: Event, name: string): string => {
    const detail: unknown = (event as CustomEvent<unknown>).detail;
    const value = typeof detail === 'object' && detail !== null ? (detail as Record<string, unknown>)[name] : undefined;
    return typeof value === 'string' ? value : '';
  };
  document.addEventListener(
    'tensorlake-nb:jump',
    (event) => {
      const notebook = around(event);
      if (!notebook) return;
      const cells = notebook.content.widgets;
      const index = definingCell(
        cells.map((cell) => (cell.model.type === 'code' ? cell.model.sharedModel.getSource() : '')),
        text(event, 'definedAs'),
      );
      const cell = cells[index];
      if (!cell) return;
      notebook.content.deselectAll();
      notebook.content.activeCellIndex = index;
      void notebook.content.scrollToCell(cell, 'center');
      event.preventDefault();
    },
    { signal },
  );
  document.addEventListener(
    'tensorlake-nb:insert',
    (event) => {
      const notebook = around(event);
      const model = notebook?.content.model;
      const code = text(event, 'code');
      if (!notebook || !model || !code) return;
      const target = event.target instanceof Node ? event.target : null;
      const at = notebook.content.widgets.findIndex((cell) => target !== null && cell.node.contains(target));
      const index = (at < 0 ? notebook.content.activeCellIndex : at) + 1;
      model.sharedModel.insertCell(index, { cell_type: 'code', source: code, metadata: { trusted: true } });
      notebook.content.deselectAll();
      notebook.content.activeCellIndex = index;
      const cell = notebook.content.widgets[index];
      if (cell) void notebook.content.scrollToCell(cell);
      event.preventDefault();
    },
    { signal },
  );
}
