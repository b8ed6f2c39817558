/** A unified diff as lines that keep their + and -. */

import { h } from './dom';
import { bounded } from './words';

const MOST = 20_000;

export type DiffLine = { readonly kind: 'added' | 'removed' | 'place' | 'same'; readonly text: string };

export function diffLines(diff: string): readonly DiffLine[] {
  return bounded(diff, MOST)
    .split('\n')
    .filter((line) => !line.startsWith('+++') && !line.startsWith('---'))
    .map((text) => ({
      kind: text.startsWith('+')
        ? 'added'
        : text.startsWith('-')
          ? 'removed'
          : text.startsWith('@@')
            ? 'place'
            : 'same',
      text,
    }));
}

/** What changed, and how. */
export function diffView(change: { readonly what: string; readonly diff: string }): HTMLElement {
  const lines = diffLines(change.diff).map(({ kind, text }) =>
    h('span', { class: 'tlk-diff-line', 'data-kind': kind }, `${text}\n`),
  );
  return h(
    'figure',
    { class: 'tlk-diff' },
    h('figcaption', {}, bounded(change.what, 400)),
    change.diff.trim() ? h('pre', { tabindex: 0 }, ...lines) : null,
  );
}
