/**
 * Read data of unknown make: each reader gives a value of its type, or throws a `TypeError` that names the place.
 */

export type Read<T> = (value: unknown, at: string) => T;

function typed<T>(wanted: string, is: (value: unknown) => value is T): Read<T> {
  return (value, at) => {
    if (is(value)) return value;
    throw new TypeError(`${at} isn't ${wanted}`);
  };
}

export const text = typed('text', (value) => typeof value === 'string');
export const number = typed('a number', (value) => typeof value === 'number');
export const flag = typed('true or false', (value) => typeof value === 'boolean');

/** A plain object of whatever holds. */
export const record = typed(
  'an object',
  (value): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value),
);

const list = typed('a list', (value): value is readonly unknown[] => Array.isArray(value));

/** One of some words. */
export const oneOf = <const T extends string>(...words: readonly T[]): Read<T> =>
  typed(`one of ${words.join(', ')}`, (value): value is T => words.some((word) => word === value));

export function orNull<T>(read: Read<T>): Read<T | null> {
  return (value, at) => (value === null ? null : read(value, at));
}

export function listOf<T>(read: Read<T>): Read<readonly T[]> {
  return (value, at) => list(value, at).map((item, index) => read(item, `${at}[${index}]`));
}

/** An object whose fields are all alike, under names of any kind. */
export function byName<T>(read: Read<T>): Read<Readonly<Record<string, T>>> {
  return (value, at) =>
    Object.fromEntries(Object.entries(record(value, at)).map(([name, item]) => [name, read(item, `${at}.${name}`)]));
}

/** An object with these fields; others that it has are left out. Fields that may be missing read `undefined`. */
export function shape<T extends object>(fields: { readonly [K in keyof T]-?: Read<T[K]> }): Read<T> {
  return (value, at) => {
    const given = record(value, at);
    const found: Partial<T> = {};
    for (const name in fields) {
      const field = fields[name](given[name], `${at}.${name}`);
      if (field !== undefined) found[name] = field;
    }
    return found as T; // every field of T has been read
  };
}

export function optional<T>(read: Read<T>): Read<T | undefined> {
  return (value, at) => (value === undefined ? undefined : read(value, at));
}
