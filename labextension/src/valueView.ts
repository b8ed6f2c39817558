/** A value as its cell would show it, with nothing in it that can run. */

import { h } from './dom';
import type { ShownValue } from './messages';
import { bounded, plain } from './words';

const MOST_TEXT = 20_000;
const PICTURES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp'];

/** The richest form that can be shown safely. */
export function valueView(value: ShownValue, theme: Element): HTMLElement {
  const { data } = value;
  const picture = PICTURES.find((type) => data[type] !== undefined);
  const shown =
    picture !== undefined
      ? h('img', {
          src: `data:${picture};base64,${(data[picture] ?? '').replace(/[^A-Za-z0-9+/=]/g, '')}`,
          alt: plain(data['text/plain'] ?? value.typeName).slice(0, 200),
          class: 'tlk-picture',
        })
      : data['image/svg+xml'] !== undefined
        ? h('img', {
            src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(data['image/svg+xml'])}`,
            alt: plain(value.typeName),
            class: 'tlk-picture',
          })
        : data['text/html'] !== undefined
          ? frame(data['text/html'], theme)
          : h(
              'pre',
              { class: 'tlk-text', tabindex: 0 },
              bounded(data['application/json'] ?? data['text/plain'] ?? '', MOST_TEXT),
            );
  const about = [value.typeName, value.about, value.isCut ? 'cut here: open it in a cell to see all of it' : '']
    .filter(Boolean)
    .join(' · ');
  return h('div', { class: 'tlk-value' }, h('div', { class: 'tlk-about' }, plain(about)), shown);
}

/**
 * HTML of others in a frame without scripts, forms or links that lead anywhere, in the colours the page has now.
 *
 * Two frames, one in the other: what a frame may load is decided by its own policy, where it may go by that of the
 * frame around it. So the policy stands around the HTML, which inherits it and can't leave.
 */
function frame(html: string, theme: Element): HTMLElement {
  const style = getComputedStyle(theme);
  const colours = `color-scheme:${css(style.colorScheme)};background:${css(style.getPropertyValue('--tlk-surface'))};color:${css(style.color)}`;
  const sheet = `html{${colours}}body{margin:4px;font:12px ${css(style.fontFamily)}}a{color:inherit;pointer-events:none}
table{border-collapse:collapse}th,td{padding:2px 8px;text-align:right;border-bottom:1px solid rgba(128,128,128,.35)}th{text-align:left}`;
  const policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
  const inner = page(`<style>${sheet}</style>${html}`);
  const around = 'html,body{height:100%;margin:0}iframe{display:block;border:0;width:100%;height:100%}';
  return h('iframe', {
    class: 'tlk-frame',
    sandbox: '',
    title: 'Value',
    referrerpolicy: 'no-referrer',
    srcdoc: page(
      `<meta http-equiv="Content-Security-Policy" content="${policy}"><style>${around}</style><iframe sandbox title="Value" referrerpolicy="no-referrer" srcdoc="${quoted(inner)}"></iframe>`,
    ),
  });
}

function css(value: string): string {
  return value.replace(/[<>{};]/g, '');
}

function page(content: string): string {
  return `<!doctype html><meta charset="utf-8">${content}`;
}

function quoted(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/"/g, '&quot;');
}
