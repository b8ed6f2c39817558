/** Elements made with text as text: nothing here ever reads HTML. */

type Attributes = Readonly<Record<string, string | number | boolean | null | undefined>>;
type Child = Node | string | null | undefined | false;

const SVG = 'http://www.w3.org/2000/svg';
const FOCUSABLE = new Set(['button', 'input', 'select', 'textarea', 'a', 'summary']);

/**
 * An HTML element. An attribute that is `true` is set without a value, one that is `false` or `null` is left out.
 * JupyterLab matches its shortcuts at the focused element first, so each that takes the focus is told to keep its keys.
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  setAttributes(made, attributes);
  if (FOCUSABLE.has(tag) || 'tabindex' in attributes) made.setAttribute('data-lm-suppress-shortcuts', 'true');
  append(made, children);
  return made;
}

/** An SVG element. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  const made = document.createElementNS(SVG, tag);
  setAttributes(made, attributes);
  if ('tabindex' in attributes) made.setAttribute('data-lm-suppress-shortcuts', 'true');
  append(made, children);
  return made;
}

/** Change only what differs, so that nothing is laid out or announced again for nothing. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Set, change or (`null`) remove one attribute, if it differs. */
export function setAttribute(element: Element, name: string, value: string | null): void {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}

function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? '' : String(value));
  }
}

function append(element: Element, children: readonly Child[]): void {
  for (const child of children) if (child !== null && child !== undefined && child !== false) element.append(child);
}

let made = 0;

/** An id that no other element of the page has. */
export function newId(): string {
  made += 1;
  return `tlk-${made}-${Math.random().toString(36).slice(2, 8)}`;
}

/** A button that is never hidden or dead: while it can't be used it says why. */
export function setObstacle(button: HTMLButtonElement, reason: string | null, title = ''): void {
  setAttribute(button, 'aria-disabled', reason === null ? null : 'true');
  setAttribute(button, 'title', reason ?? (title || null));
  setAttribute(button, 'aria-description', reason);
}

/** Whether `setObstacle` gave a reason. */
export function isBlocked(button: Element): boolean {
  return button.getAttribute('aria-disabled') === 'true';
}

/** Put a text on the clipboard; false where the browser doesn't allow it. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
