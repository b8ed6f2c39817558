import { describe, expect, it } from 'vitest';
import { bounded, count, duration, oneLine, plain, rate } from '../src/words';

describe('words', () => {
  it.each([
    [0, '0 s'],
    [0.0001, '< 1 ms'],
    [0.0123, '12 ms'],
    [0.9999, '1.0 s'],
    [9.96, '10 s'],
    [59.6, '1 min 00 s'],
    [245, '4 min 05 s'],
    [7380, '2 h 03 min'],
    [90_000, '1 d 1 h'],
    [-1, '0 s'],
  ])('say %f seconds as %s', (seconds, words) => expect(duration(seconds)).toBe(words));

  it('give rates in the unit that reads well', () => {
    expect([rate(1234), rate(3.44), rate(0.2)]).toEqual(['1,234/s', '3.4/s', '12/min']);
    expect(count(10_000)).toBe('10,000');
  });

  it('take escape sequences and what turns a line around out of a text', () => {
    expect(plain('\u001b[31mred\u001b[0m')).toBe('red');
    expect(plain('a\u202eb\u0000c\r\nd')).toBe('a�b�c\nd');
    expect(plain('👩‍👩‍👧')).toBe('👩‍👩‍👧');
  });

  it('cut what is long, and say so', () => {
    expect(oneLine('a  b\n c', 10)).toBe('a b c');
    expect([...oneLine('x'.repeat(10_000), 12)]).toHaveLength(12);
    expect(oneLine('😀'.repeat(30), 5)).toBe('😀😀😀😀…');
    expect(bounded('x'.repeat(30), 10)).toContain('20 more characters');
  });
});
