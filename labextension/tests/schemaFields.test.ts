import { describe, expect, it } from 'vitest';
import { type Field, fromText, toFields, toText } from '../src/schemaFields';

const schema = {
  $defs: { Mode: { enum: ['fast', 'slow'], type: 'string' } },
  properties: {
    n: { type: 'integer', minimum: 1, title: 'N' },
    rate: { type: 'number', default: 0.5 },
    name: { anyOf: [{ type: 'string' }, { type: 'null' }], default: null },
    mode: { $ref: '#/$defs/Mode', default: 'fast' },
    flag: { type: 'boolean', default: false },
    urls: { type: 'array', items: { type: 'string' }, description: 'Where from' },
  },
  required: ['n', 'urls'],
};

const fields = new Map(toFields(schema, {}).map((field) => [field.name, field]));
const field = (name: string): Field => {
  const found = fields.get(name);
  if (!found) throw new Error(name);
  return found;
};

describe('fields of a schema', () => {
  it('have the kind of their type', () => {
    expect([...fields.values()].map((each) => each.kind)).toEqual([
      'integer',
      'number',
      'text',
      'choice',
      'boolean',
      'json',
    ]);
  });

  it('say what is allowed and what they are for', () => {
    expect(field('n').help).toContain('at least 1');
    expect(field('urls').help).toContain('Where from');
    expect([field('n').isRequired, field('rate').isRequired]).toEqual([true, false]);
  });

  it.each([
    ['n', '3', { value: 3 }],
    ['n', '3.5', { error: '3.5 is not a whole number.' }],
    ['n', '', { error: 'Give a value.' }],
    ['rate', '', { isLeftOut: true }],
    ['rate', 'x', { error: 'x is not a number.' }],
    ['name', '', { value: null }],
    ['mode', '1', { value: 'slow' }],
    ['flag', 'true', { value: true }],
    ['urls', '["a"]', { value: ['a'] }],
  ])('%s reads %j', (name, text, found) => expect(fromText(field(name), text)).toEqual(found));

  it('write their default as it is typed', () => {
    expect([...fields.values()].map((each) => toText(each, each.initial))).toEqual(['', '0.5', '', '0', 'false', '']);
  });

  it('read back what they write', () => {
    for (const [name, value] of [
      ['n', 7],
      ['mode', 'slow'],
      ['flag', true],
      ['urls', ['x', 'y']],
      ['name', 'a "b"'],
    ] as const)
      expect(fromText(field(name), toText(field(name), value))).toEqual({ value });
  });
});
