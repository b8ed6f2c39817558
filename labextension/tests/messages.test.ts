import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { applyDelta, parseDelta, parseState, VersionMismatch } from '../src/messages';
import { tallies, toBoxes } from '../src/viewModel';
import { chain, standing } from './states';

const folder = `${process.cwd()}/../tests/conformance/panel`;
const read = (name: string): unknown => JSON.parse(readFileSync(`${folder}/${name}`, 'utf8'));

describe('what the kernel writes', () => {
  const names = readdirSync(folder).filter((name) => name.startsWith('state-'));

  it('is there', () => expect(names.length).toBeGreaterThan(2));

  it.each(names)('%s is read and drawn', (name) => {
    const state = parseState(read(name));
    const boxes = toBoxes(state, null);
    expect(boxes.map((box) => box.name)).toEqual(state.graph.nodes.map((node) => node.name));
    for (const box of boxes) expect(box.spoken + box.numbers + box.time).not.toMatch(/undefined|NaN|null/);
    expect(tallies(state).every(({ n }) => n > 0)).toBe(true);
  });

  it('changes a state as the kernel means it', () => {
    const before = parseState(read('state-running.json'));
    const change = parseDelta(read('delta.json'));
    if (change === null) throw new Error('no change');
    const after = applyDelta(before, change);
    expect(after).toEqual(parseState(read('state-after-delta.json')));
  });
});

describe('a message', () => {
  it('of another version says which side to upgrade', () => {
    expect(() => parseState({ ...chain({ a: standing() }), version: 0 })).toThrow(/upgrade it in the kernel/);
    expect(() => parseState({ version: 99 })).toThrow(VersionMismatch);
    expect(() => parseState({ version: 99 })).toThrow(/where Jupyter runs/);
  });

  it.each([null, 1, 'x', [], {}, { version: 1 }, { version: 1, graph: {} }])('that is junk (%j) is refused', (junk) => {
    expect(() => parseState(junk)).toThrow();
  });

  const running = (): Record<string, unknown> => read('state-running.json') as Record<string, unknown>;

  it.each([
    [
      { graph: { ...(running()['graph'] as object), nodes: [{ name: 'a', kind: 'loop' }] } },
      /graph.nodes\[0\].kind isn't/,
    ],
    [{ nodes: { fetch: {} } }, /nodes.fetch.state isn't one of waiting, /],
    [{ at: 'now' }, /state.at isn't a number/],
    [{ actions: undefined }, /actions isn't an object/],
    [{ form: { schema: [], values: {} } }, /form.schema isn't an object/],
  ])('with a field that is something else says which (%#)', (wrong, said) => {
    expect(() => parseState({ ...running(), ...wrong })).toThrow(said);
  });

  it('may have fields that this page does not know', () => {
    expect(parseState({ ...running(), later: 1 })).toEqual(parseState(running()));
  });

  it('that is no change is left alone', () => expect(parseDelta({ id: 'x', ok: true })).toBeNull());
});
