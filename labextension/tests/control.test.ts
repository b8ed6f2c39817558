import { describe, expect, it } from 'vitest';
import { type Kernel, KernelChannel, ModelChannel } from '../src/control';

interface Asked {
  readonly id: string;
  readonly kind: string;
}

/** A kernel whose comm answers as a test says. */
class FakeKernel {
  readonly asked: Asked[] = [];
  status = 'idle';
  interrupts = 0;
  imports = 0;
  isLoaded = true;
  answer: ((asked: Asked) => unknown) | null = () => null;
  private slots: ((sender: unknown, status: string) => void)[] = [];
  readonly statusChanged = {
    connect: (slot: (sender: unknown, status: string) => void) => this.slots.push(slot) > 0,
    disconnect: () => true,
  };

  constructor(readonly supportsSubshells: boolean) {}

  become(status: string): void {
    this.status = status;
    for (const slot of this.slots) slot(this, status);
  }

  createComm() {
    const kernel = this;
    return {
      subshellStarted: Promise.resolve(),
      subshellId: this.supportsSubshells ? 'sub' : null,
      onMsg: (_: { content: { data: unknown } }): void => undefined,
      onClose: (_: unknown): void => undefined,
      open(): void {
        if (!kernel.isLoaded) queueMicrotask(() => this.onClose(null));
      },
      send(data: object): void {
        const asked = data as Asked;
        kernel.asked.push(asked);
        if (!kernel.isLoaded || kernel.answer === null) return;
        const body = kernel.answer(asked);
        queueMicrotask(() =>
          this.onMsg({
            content: {
              data:
                body instanceof Error
                  ? { version: 1, id: asked.id, ok: false, error: body.message }
                  : { version: 1, id: asked.id, ok: true, body },
            },
          }),
        );
      },
      close: () => undefined,
    };
  }

  interrupt(): Promise<void> {
    this.interrupts += 1;
    return Promise.resolve();
  }

  requestExecute(): { done: Promise<unknown> } {
    this.imports += 1;
    this.isLoaded = true;
    return { done: Promise.resolve() };
  }
}

const channelTo = (kernel: FakeKernel, isBlocked = false): KernelChannel =>
  new KernelChannel(kernel as unknown as Kernel, () => isBlocked, new AbortController().signal);

describe('a channel to a kernel', () => {
  it('gives each question its own answer', async () => {
    const kernel = new FakeKernel(true);
    kernel.answer = (asked) => [{ graph: asked.id }];
    const channel = channelTo(kernel);
    const [first, second] = await Promise.all([
      channel.ask<'graphs'>({ kind: 'graphs' }),
      channel.ask<'graphs'>({ kind: 'graphs' }),
    ]);
    expect(first).not.toEqual(second);
    expect(new Set(kernel.asked.map(({ id }) => id)).size).toBe(2);
  });

  it('passes on what the kernel says is wrong', async () => {
    const kernel = new FakeKernel(true);
    kernel.answer = () => new Error('no run ends with x');
    await expect(channelTo(kernel).ask<'graphs'>({ kind: 'graphs' })).rejects.toThrow('no run ends with x');
  });

  it('is heard on a subshell while a cell blocks', async () => {
    const kernel = new FakeKernel(true);
    await channelTo(kernel, true).ask<'cancel'>({ kind: 'cancel', run: 'r', force: false });
    expect([kernel.asked.length, kernel.interrupts]).toEqual([1, 0]);
  });

  it('interrupts a blocked kernel that has no subshells, and says why it asks nothing else of it', async () => {
    const kernel = new FakeKernel(false);
    const channel = channelTo(kernel, true);
    await channel.ask<'cancel'>({ kind: 'cancel', run: 'r', force: false });
    expect([kernel.asked.length, kernel.interrupts]).toEqual([0, 1]);
    await expect(channel.ask<'graphs'>({ kind: 'graphs' })).rejects.toThrow(/between cells/);
  });

  it('interrupts a blocked kernel that does not answer', async () => {
    const kernel = new FakeKernel(true);
    kernel.answer = null;
    await channelTo(kernel, true).ask<'cancel'>({ kind: 'cancel', run: 'r', force: false });
    expect(kernel.interrupts).toBe(1);
  });

  it('says that a kernel was restarted, and gives up what was asked', async () => {
    const kernel = new FakeKernel(true);
    kernel.answer = null;
    const channel = channelTo(kernel);
    const asked = channel.ask<'graphs'>({ kind: 'graphs' });
    await new Promise((resolve) => setTimeout(resolve));
    kernel.become('restarting');
    await expect(asked).rejects.toThrow(/restarted/);
    expect(channel.obstacle).toMatch(/restarted/);
    expect(channel.connect).not.toBeNull();
  });

  it('imports the package in a fresh kernel for a click that acts, and for no other', async () => {
    const kernel = new FakeKernel(true);
    kernel.isLoaded = false;
    const channel = channelTo(kernel);
    await expect(channel.ask<'graphs'>({ kind: 'graphs' })).rejects.toThrow(/not imported/);
    expect(kernel.imports).toBe(0);
    await channel.ask<'resume'>({ kind: 'resume', run: 'r' });
    expect(kernel.imports).toBe(1);
  });

  it('has nobody to ask without a kernel', async () => {
    const channel = new KernelChannel(null, () => false, new AbortController().signal);
    expect(channel.obstacle).toMatch(/no kernel/);
    await expect(channel.ask<'graphs'>({ kind: 'graphs' })).rejects.toThrow(/no kernel/);
  });
});

describe('a channel of the widget alone', () => {
  it('answers between cells, and says what to press while one runs', async () => {
    let listener: (message: unknown) => void = () => undefined;
    let isBlocked = false;
    const model = {
      send: (asked: object) =>
        queueMicrotask(() => listener({ version: 1, id: (asked as Asked).id, ok: true, body: [] })),
      on: (_: string, heard: (message: unknown) => void) => (listener = heard),
      off: () => undefined,
    };
    const channel = new ModelChannel(model as never, () => isBlocked, new AbortController().signal);
    expect(await channel.ask<'graphs'>({ kind: 'graphs' })).toEqual([]);
    isBlocked = true;
    await expect(channel.ask<'graphs'>({ kind: 'graphs' })).rejects.toThrow(/stop button/);
  });
});
