/** Pan and zoom of a drawing: drag, pinch or ctrl+wheel, keys, buttons. The plain wheel scrolls the notebook. */

import { h } from './dom';

const LEAST = 0.2;
const MOST = 2.5;
/** Below this a drawing that doesn't fit is panned instead of shrunk: its words could not be read. */
const LEAST_TO_READ = 0.72;
const MOST_HEIGHT = 460;
const STEP = 1.25;

export class Viewport {
  readonly controls: HTMLElement;
  private scale = 1;
  private x = 0;
  private y = 0;
  private isTouched = false;
  /** What has to be in view, as far as nobody has moved the drawing since: it stays so when the frame changes its size. */
  private wanted: readonly [x: number, y: number, marginX: number, marginY: number] | null = null;
  private size = { width: 0, height: 0 };

  constructor(
    private readonly frame: HTMLElement,
    private readonly drawing: SVGSVGElement,
    private readonly content: SVGGElement,
    signal: AbortSignal,
  ) {
    const button = (label: string, text: string, act: () => void): HTMLButtonElement => {
      const made = h('button', { type: 'button', class: 'tlk-zoom', 'aria-label': label, title: label }, text);
      made.addEventListener('click', act, { signal });
      return made;
    };
    this.controls = h(
      'div',
      { class: 'tlk-zooms', role: 'group', 'aria-label': 'Zoom' },
      button('Zoom in (+)', '+', () => this.zoom(STEP)),
      button('Zoom out (-)', '−', () => this.zoom(1 / STEP)),
      button('Fit the graph (0)', '⤢', () => this.fit()),
    );
    frame.addEventListener('wheel', (event) => this.onWheel(event), { signal, passive: false });
    this.listenToDrag(signal);
    const observer = new ResizeObserver(() => {
      if (this.isTouched) return;
      this.reset();
      this.bringWanted();
    });
    observer.observe(frame);
    signal.addEventListener('abort', () => observer.disconnect());
  }

  /** The drawing's own size (px) has changed. */
  resize(width: number, height: number): void {
    if (this.size.width === width && this.size.height === height) return;
    this.size = { width, height };
    this.isTouched = false;
    this.wanted = null;
    this.reset();
  }

  /** As it is shown first: whole if its words can be read then, else its left part. */
  reset(): void {
    const across = this.frame.clientWidth || 800;
    this.scale = Math.min(1, Math.max(across / Math.max(this.size.width, 1), LEAST_TO_READ));
    const height = Math.min(this.size.height * this.scale, MOST_HEIGHT);
    this.drawing.style.height = `${Math.ceil(height)}px`;
    this.x = Math.max(0, (across - this.size.width * this.scale) / 2);
    if (this.size.width * this.scale < across * 0.8) this.x = 0;
    this.y = Math.min(0, (height - this.size.height * this.scale) / 2);
    if (this.y < 0) this.y = 0;
    this.apply();
  }

  /** All of it, however small that is. */
  fit(): void {
    const across = this.frame.clientWidth || 800;
    const down = this.drawing.clientHeight || MOST_HEIGHT;
    this.scale = clamp(Math.min(across / this.size.width, down / this.size.height, 1));
    this.x = Math.max(0, (across - this.size.width * this.scale) / 2);
    this.y = Math.max(0, (down - this.size.height * this.scale) / 2);
    this.isTouched = true;
    this.apply();
  }

  /** Zoom around a point of the frame; its middle by default. */
  zoom(factor: number, x = this.frame.clientWidth / 2, y = this.drawing.clientHeight / 2): void {
    const scale = clamp(this.scale * factor);
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.isTouched = true;
    this.apply();
  }

  /** Bring a point of the drawing into view, if it isn't; of a drawing that isn't on the page yet, once it is. */
  reveal(x: number, y: number, marginX: number, marginY: number): void {
    this.wanted = [x, y, marginX, marginY];
    this.bringWanted();
  }

  private bringWanted(): void {
    const [across, down] = [this.frame.clientWidth, this.drawing.clientHeight];
    if (this.wanted === null || across === 0 || down === 0) return;
    const [x, y, marginX, marginY] = this.wanted;
    const shift = (at: number, room: number, margin: number): number => {
      if (room < 2 * margin) return room / 2 - at;
      if (at < margin) return margin - at;
      return at > room - margin ? room - margin - at : 0;
    };
    const dx = shift(this.x + x * this.scale, across, marginX * this.scale);
    const dy = shift(this.y + y * this.scale, down, marginY * this.scale);
    if (dx === 0 && dy === 0) return;
    this.x += dx;
    this.y += dy;
    this.apply();
  }

  private apply(): void {
    this.content.setAttribute(
      'transform',
      `translate(${this.x.toFixed(1)} ${this.y.toFixed(1)}) scale(${this.scale.toFixed(3)})`,
    );
  }

  private onWheel(event: WheelEvent): void {
    if (!event.ctrlKey && !event.metaKey) {
      if (Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
      event.preventDefault(); // sideways: along the graph
      this.x -= event.deltaX;
      this.isTouched = true;
      this.apply();
      return;
    }
    event.preventDefault();
    const { left, top } = this.drawing.getBoundingClientRect();
    this.zoom(Math.exp(-event.deltaY / 300), event.clientX - left, event.clientY - top);
  }

  private listenToDrag(signal: AbortSignal): void {
    let last: { x: number; y: number } | null = null;
    this.drawing.addEventListener(
      'pointerdown',
      (event) => {
        if (event.button !== 0) return;
        last = { x: event.clientX, y: event.clientY };
      },
      { signal },
    );
    const move = (event: PointerEvent): void => {
      if (last === null) return;
      const [dx, dy] = [event.clientX - last.x, event.clientY - last.y];
      if (!this.drawing.hasPointerCapture(event.pointerId)) {
        if (Math.abs(dx) + Math.abs(dy) < 5) return; // a click that trembles
        this.drawing.setPointerCapture(event.pointerId);
        this.frame.classList.add('tlk-dragged');
      }
      last = { x: event.clientX, y: event.clientY };
      this.x += dx;
      this.y += dy;
      this.isTouched = true;
      this.apply();
    };
    const stop = (): void => {
      last = null;
      this.frame.classList.remove('tlk-dragged');
    };
    this.drawing.addEventListener('pointermove', move, { signal });
    this.drawing.addEventListener('pointerup', stop, { signal });
    this.drawing.addEventListener('pointercancel', stop, { signal });
  }
}

function clamp(scale: number): number {
  return Math.min(MOST, Math.max(LEAST, scale));
}
