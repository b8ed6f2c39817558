/** A value as its cell would show it, with nothing in it that can run. */

import { h } from './dom';
import type { ShownValue } from './messages';
import { bounded, plain } from './words';

const MOST_TEXT = 20_000;
const PICTURES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];

/** The richest form that can be shown safely. */
export function valueView(value: ShownValue, theme: Element): HTMLElement {
  const { data } = value;
  const picture = PICTURES.find(type => data[type] !== undefined);
  const shown =
    picture !== undefined
      ? h('img', { src: `data:${picture};base64,${(data[picture] ?? '').replace(/[^A-Za-z0-9+/=]/g, '')}`, alt: plain(data['text/plain'] ?? value.typeName).slice(0, 200), class: 'tlk-picture' })
      : data['image/svg+xml'] !== undefined
        ? h('img', { src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(data['image/svg+xml'])}`, alt: plain(value.typeName), class: 'tlk-picture' })
        : data['text/html'] !== undefined
          ? frame(data['text/html'], theme)
          : h('pre', { class: 'tlk-text', tabindex: 0 }, bounded(data['application/json'] ?? data['text/plain'] ?? '', MOST_TEXT));
  const about = [value.typeName, value.about, value.isCut ? 'cut here: open it in a cell to see all of it' : ''].filter(Boolean).join(' · ');
  return h('div', { class: 'tlk-value' }, h('div', { class: 'tlk-about' }, plain(about)), shown);
}

/** HTML of others in a frame without scripts, forms or links that lead anywhere, in the colours of the page. */
function frame(html: string, theme: Element): HTMLElement {
  const style = getComputedStyle(theme);
  const colour = style.color;
  const font = style.fontFamily.replace(/[<>{}]/g, '');
  const sheet = `:root{color-scheme:light dark}body{margin:4px;background:transparent;color:${colour};font:12px ${font}}
table{border-collapse:collapse}th,td{padding:2px 8px;text-align:right;border-bottom:1px solid rgba(128,128,128,.35)}th{text-align:left}`;
  const policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
  return h('iframe', {
    class: 'tlk-frame',
    sandbox: '',
    title: 'Value',
    referrerpolicy: 'no-referrer',
    srcdoc: `<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${policy}"><style>${sheet}</style>${html}`
  });
}
