/**
 * How a click reaches the kernel, whatever the kernel is doing.
 *
 * A cell that waits for a run blocks the kernel's main thread, and with it every message of the widget. So requests
 * go over a comm of their own, which the page opens: JupyterLab 4.4+ and ipykernel 7 give it a subshell, which is a
 * thread of its own. Where there is none, a blocked kernel still hears an interrupt, which cancels the run.
 */

import {
  CONTROL_TARGET,
  parseReply,
  type Replies,
  type Reply,
  type Request,
  type RequestKind,
  VERSION,
  VersionMismatch,
} from './messages';
import type { Channel } from './panes';

/** What is used of JupyterLab's kernel connection; a widget manager hands it over untyped. */
export interface Kernel {
  readonly status?: string;
  readonly supportsSubshells?: boolean;
  readonly statusChanged?: Signal<string>;
  createComm(target: string): Comm;
  interrupt(): Promise<void>;
  requestExecute?(content: { code: string; silent: boolean; store_history: boolean }): {
    readonly done: Promise<unknown>;
  };
}

interface Signal<T> {
  connect(slot: (sender: unknown, value: T) => void): boolean;
  disconnect(slot: (sender: unknown, value: T) => void): boolean;
}

interface Comm {
  readonly subshellStarted?: Promise<unknown>;
  readonly subshellId?: string | null;
  readonly isDisposed?: boolean;
  onMsg: (message: { content: { data: unknown } }) => void;
  onClose: (message: unknown) => void;
  open(data: object): unknown;
  send(data: object): unknown;
  close(): unknown;
}

/** How long an answer may take (ms) before it is said that none came. */
const PATIENCE_MS = 30_000;
/** How long a subshell may take to start (ms). */
const SUBSHELL_MS = 2_000;
/** How long a cancellation by request may go unheard (ms) before the kernel is interrupted. */
const CANCEL_MS = 1_500;

const GONE = 'The kernel is gone or was restarted: this is what was seen last.';
const NO_KERNEL = 'There is no kernel: this is what was saved.';
const NOT_LOADED = 'tensorlake_nb is not imported in this kernel.';
const BUSY = 'The cell is still running, and this kernel answers only between cells.';

/** Requests that change something. */
const ACTS: ReadonlySet<RequestKind> = new Set(['run', 'resume', 'again', 'refresh', 'rerunFailed']);

interface Waiting {
  resolve(reply: Reply<RequestKind>): void;
  reject(error: Error): void;
}

/** Requests by id, and what settles them. */
class Pending {
  private readonly waiting = new Map<string, Waiting>();
  private made = 0;
  private readonly prefix = Math.random().toString(36).slice(2, 10);

  /** Send and wait for the reply with the same id. */
  async ask<K extends RequestKind>(
    request: Extract<Request, { kind: K }>,
    send: (message: object) => void,
    signal?: AbortSignal,
  ): Promise<Replies[K]> {
    this.made += 1;
    const id = `${this.prefix}-${this.made}`;
    const reply = await new Promise<Reply<RequestKind>>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`No answer from the kernel within ${PATIENCE_MS / 1000} s.`)),
        PATIENCE_MS,
      );
      const settle = (act: () => void): void => {
        clearTimeout(timer);
        this.waiting.delete(id);
        act();
      };
      this.waiting.set(id, {
        resolve: (found) => settle(() => resolve(found)),
        reject: (error) => settle(() => reject(error)),
      });
      signal?.addEventListener('abort', () =>
        this.waiting.get(id)?.reject(new DOMException('not wanted any more', 'AbortError')),
      );
      send({ version: VERSION, id, ...request });
    });
    if (reply.version !== VERSION) throw new VersionMismatch(reply.version);
    if (!reply.ok) throw new Error(reply.error);
    return reply.body as Replies[K];
  }

  take(message: unknown): void {
    const reply = parseReply(message);
    if (reply !== null) this.waiting.get(reply.id)?.resolve(reply);
  }

  rejectAll(reason: string): void {
    for (const each of [...this.waiting.values()]) each.reject(new Error(reason));
  }
}

/** Over a comm of the page's own to the kernel of a notebook. */
export class KernelChannel implements Channel {
  private readonly pending = new Pending();
  private readonly listeners = new Set<(obstacle: string | null) => void>();
  private comm: Promise<Comm> | null = null;
  private hasSubshell: boolean | null = null;
  private trouble: string | null = null;

  /**
   * @param kernel - null where the notebook has none.
   * @param isBlocked - whether a cell waits for the run that is shown.
   */
  constructor(
    private kernel: Kernel | null,
    private readonly isBlocked: () => boolean,
    signal: AbortSignal,
    /** The model that draws the panel, if one does: what a click begins is then shown by it. */
    private readonly modelId: () => string | null = () => null,
  ) {
    this.use(kernel);
    signal.addEventListener('abort', () => {
      this.kernel?.statusChanged?.disconnect(this.onStatus);
      void this.comm?.then(
        (comm) => quietly(() => comm.close()),
        () => undefined,
      );
      this.pending.rejectAll('the panel was closed');
    });
  }

  /** Ask this kernel from now on: a page is drawn before its kernel is there. */
  use(kernel: Kernel | null): void {
    this.kernel?.statusChanged?.disconnect(this.onStatus);
    this.kernel = kernel;
    this.comm = this.hasSubshell = null;
    this.trouble = kernel === null ? NO_KERNEL : kernel.status === 'dead' ? GONE : null;
    kernel?.statusChanged?.connect(this.onStatus);
    this.say();
  }

  private readonly onStatus = (_: unknown, status: string): void => {
    if (status === 'restarting' || status === 'autorestarting' || status === 'dead') this.lose(GONE);
  };

  get obstacle(): string | null {
    if (this.trouble !== null) return this.trouble;
    return this.isBlocked() && !this.canBeHeard() ? BUSY : null;
  }

  get connect(): (() => Promise<void>) | null {
    const kernel = this.kernel;
    if (kernel === null || kernel.status === 'dead' || (this.trouble !== GONE && this.trouble !== NOT_LOADED))
      return null;
    return async () => {
      await kernel.requestExecute?.({ code: 'import tensorlake_nb', silent: true, store_history: false }).done;
      this.comm = null;
      this.trouble = null;
      this.say();
    };
  }

  onObstacle(listener: (obstacle: string | null) => void, signal: AbortSignal): void {
    this.listeners.add(listener);
    signal.addEventListener('abort', () => this.listeners.delete(listener));
  }

  async ask<K extends RequestKind>(request: Extract<Request, { kind: K }>, signal?: AbortSignal): Promise<Replies[K]> {
    const kernel = this.kernel;
    if (kernel !== null && this.trouble !== null && ACTS.has(request.kind)) await this.connect?.();
    if (kernel === null || this.trouble !== null) throw new Error(this.trouble ?? GONE);
    if (request.kind === 'cancel') return this.cancel(kernel, request, signal);
    try {
      return await this.put(kernel, request, signal);
    } catch (error) {
      // A kernel that was restarted doesn't know the package any more. Who clicks to act wants it to.
      if (this.trouble !== NOT_LOADED || !ACTS.has(request.kind) || this.connect === null) throw error;
      await this.connect();
      return this.put(kernel, request, signal);
    }
  }

  private async put<K extends RequestKind>(
    kernel: Kernel,
    request: Extract<Request, { kind: K }>,
    signal?: AbortSignal,
  ): Promise<Replies[K]> {
    const comm = await this.open(kernel);
    if (this.obstacle !== null) throw new Error(this.obstacle);
    return this.pending.ask<K>(request, (message) => this.post(comm, message), signal);
  }

  private post(comm: Comm, message: object): void {
    attempt(() => comm.send({ ...message, panel: this.modelId() }));
  }

  /** By request if the kernel can hear it, else, or if it doesn't answer, by an interrupt. */
  private async cancel<K extends RequestKind>(
    kernel: Kernel,
    request: Extract<Request, { kind: K }>,
    signal?: AbortSignal,
  ): Promise<Replies[K]> {
    const wasBlocked = this.isBlocked();
    const comm = await this.open(kernel);
    if (!wasBlocked) return this.pending.ask<K>(request, (message) => this.post(comm, message), signal);
    if (this.canBeHeard()) {
      const asked = this.pending.ask<K>(request, (message) => this.post(comm, message), signal);
      const isHeard = await Promise.race([asked.then(() => true), sleep(CANCEL_MS).then(() => false)]);
      if (isHeard) return asked;
      asked.catch(() => undefined);
    }
    await kernel.interrupt();
    return null as Replies[K];
  }

  private canBeHeard(): boolean {
    return this.hasSubshell ?? this.kernel?.supportsSubshells === true;
  }

  private open(kernel: Kernel): Promise<Comm> {
    this.comm ??= this.start(kernel).catch((error: unknown) => {
      this.comm = null;
      throw error;
    });
    return this.comm;
  }

  private async start(kernel: Kernel): Promise<Comm> {
    const comm = attempt(() => kernel.createComm(CONTROL_TARGET));
    comm.onMsg = (message) => this.pending.take(message.content.data);
    comm.onClose = () => this.lose(NOT_LOADED);
    if (kernel.supportsSubshells === true && comm.subshellStarted !== undefined)
      await Promise.race([comm.subshellStarted, sleep(SUBSHELL_MS)]);
    this.hasSubshell = typeof comm.subshellId === 'string';
    attempt(() => comm.open({ version: VERSION }));
    this.say();
    return comm;
  }

  private lose(reason: string): void {
    this.comm = null;
    this.trouble = reason;
    this.pending.rejectAll(reason);
    this.say();
  }

  private say(): void {
    for (const listener of this.listeners) listener(this.obstacle);
  }
}

/** What is used of an anywidget model where there is no kernel connection: VS Code, Colab. */
export interface CustomMessages {
  send(content: object): void;
  on(event: 'msg:custom', listener: (message: unknown) => void): void;
  off(event: 'msg:custom', listener: (message: unknown) => void): void;
}

/** Over the widget's own messages: heard between cells. */
export class ModelChannel implements Channel {
  readonly connect = null;
  private readonly pending = new Pending();
  private readonly listeners = new Set<(obstacle: string | null) => void>();

  constructor(
    private readonly model: CustomMessages,
    private readonly isBlocked: () => boolean,
    signal: AbortSignal,
  ) {
    const take = (message: unknown): void => this.pending.take(message);
    model.on('msg:custom', take);
    signal.addEventListener('abort', () => {
      model.off('msg:custom', take);
      this.pending.rejectAll('the panel was closed');
    });
  }

  get obstacle(): string | null {
    return this.isBlocked() ? `${BUSY} To cancel, press the stop button of the cell.` : null;
  }

  onObstacle(listener: (obstacle: string | null) => void, signal: AbortSignal): void {
    this.listeners.add(listener);
    signal.addEventListener('abort', () => this.listeners.delete(listener));
  }

  async ask<K extends RequestKind>(request: Extract<Request, { kind: K }>, signal?: AbortSignal): Promise<Replies[K]> {
    if (this.obstacle !== null) throw new Error(this.obstacle);
    return this.pending.ask<K>(request, (message) => this.model.send(message), signal);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** JupyterLab throws where a kernel is gone; a person should read why. */
function attempt<T>(act: () => T): T {
  try {
    return act();
  } catch {
    throw new Error(GONE);
  }
}

function quietly(act: () => unknown): void {
  try {
    act();
  } catch {
    // the kernel is gone, and the comm with it
  }
}
