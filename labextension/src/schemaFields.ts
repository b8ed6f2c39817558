/** A JSON schema, as pydantic writes it, as fields of a form; and what was typed as JSON again. */

import type { JsonSchema } from './messages';

export interface Field {
  readonly name: string;
  readonly kind: 'text' | 'integer' | 'number' | 'boolean' | 'choice' | 'json';
  readonly isRequired: boolean;
  /** Its default, undefined if it has none. */
  readonly initial: unknown;
  readonly choices: readonly unknown[];
  readonly help: string;
  readonly minimum: number | null;
  readonly maximum: number | null;
  readonly mayBeNull: boolean;
}

export function toFields(schema: JsonSchema, values: Readonly<Record<string, unknown>>): readonly Field[] {
  const properties = asRecord(schema['properties']);
  const required = new Set(Array.isArray(schema['required']) ? schema['required'] : []);
  return Object.entries(properties).map(([name, raw]) => toField(name, raw, schema, required.has(name), values));
}

function toField(
  name: string,
  raw: unknown,
  root: JsonSchema,
  isRequired: boolean,
  values: Readonly<Record<string, unknown>>,
): Field {
  const outer = asRecord(raw);
  let inner = resolve(outer, root);
  let mayBeNull = false;
  const branches = Array.isArray(inner['anyOf']) ? inner['anyOf'].map((each) => resolve(asRecord(each), root)) : [];
  if (branches.length) {
    const others = branches.filter((each) => each['type'] !== 'null');
    mayBeNull = others.length < branches.length;
    inner = others.length === 1 ? (others[0] as Record<string, unknown>) : {};
  }
  const choices = Array.isArray(inner['enum']) ? inner['enum'] : 'const' in inner ? [inner['const']] : [];
  const limit = (word: string): number | null => (typeof inner[word] === 'number' ? (inner[word] as number) : null);
  const constraints = [
    ['at least', inner['minimum']],
    ['more than', inner['exclusiveMinimum']],
    ['at most', inner['maximum']],
    ['less than', inner['exclusiveMaximum']],
    ['at least this long:', inner['minLength'] ?? inner['minItems']],
    ['at most this long:', inner['maxLength'] ?? inner['maxItems']],
    ['like', inner['pattern']],
    ['a', inner['format']],
  ].flatMap(([word, value]) => (value === undefined ? [] : [`${String(word)} ${String(value)}`]));
  const type = typeof inner['type'] === 'string' ? inner['type'] : choices.length ? 'choice' : 'anything';
  const description = outer['description'] ?? inner['description'];
  return {
    name,
    kind: choices.length
      ? 'choice'
      : type === 'string'
        ? 'text'
        : type === 'integer' || type === 'number' || type === 'boolean'
          ? type
          : 'json',
    isRequired,
    initial: name in values ? values[name] : outer['default'],
    choices,
    help: [typeof description === 'string' ? description : '', wordFor(type, mayBeNull), ...constraints]
      .filter(Boolean)
      .join(' · '),
    minimum: limit('minimum'),
    maximum: limit('maximum'),
    mayBeNull,
  };
}

function wordFor(type: string, mayBeNull: boolean): string {
  const words: Readonly<Record<string, string>> = {
    string: 'text',
    integer: 'whole number',
    number: 'number',
    array: 'list, as JSON',
    object: 'JSON',
    anything: 'JSON',
    boolean: '',
    choice: '',
  };
  const word = words[type] ?? type;
  return mayBeNull && word ? `${word}, or empty` : word;
}

/** How a value stands in its input. */
export function toText(field: Field, value: unknown): string {
  if (value === undefined || (value === null && field.kind !== 'json')) return '';
  if (field.kind === 'text' && typeof value === 'string') return value;
  if (field.kind === 'choice')
    return String(field.choices.findIndex((each) => JSON.stringify(each) === JSON.stringify(value)));
  return JSON.stringify(value);
}

export type Read = { readonly value: unknown } | { readonly error: string } | { readonly isLeftOut: true };

/** What was typed. Only what can't be read is an error here; the rest is for the kernel to judge. */
export function fromText(field: Field, text: string): Read {
  if (text === '' && !(field.kind === 'text' && !field.mayBeNull && field.isRequired)) {
    if (field.mayBeNull) return { value: null };
    if (!field.isRequired) return { isLeftOut: true };
    return { error: 'Give a value.' };
  }
  if (field.kind === 'text') return { value: text };
  if (field.kind === 'choice') return { value: field.choices[Number(text)] };
  if (field.kind === 'integer' || field.kind === 'number') {
    const number = Number(text.replace(/_/g, ''));
    if (!Number.isFinite(number)) return { error: `${text} is not a number.` };
    if (field.kind === 'integer' && !Number.isInteger(number)) return { error: `${text} is not a whole number.` };
    return { value: number };
  }
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return field.kind === 'json'
      ? { error: 'This is not JSON. Texts stand in double quotes: ["a", "b"].' }
      : { value: text };
  }
}

function resolve(schema: Record<string, unknown>, root: JsonSchema): Record<string, unknown> {
  const ref = schema['$ref'];
  if (typeof ref !== 'string' || !ref.startsWith('#/$defs/')) return schema;
  return { ...asRecord(asRecord(root['$defs'])[ref.slice('#/$defs/'.length)]), ...schema };
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
