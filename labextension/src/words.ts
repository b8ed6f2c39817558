/** How states, durations and numbers read, and how any text is made safe to show. */

import type { Counts, NodeKind, RunStatus, State } from './messages';

/** Told by its glyph and its word before any colour. */
export const GLYPHS: Readonly<Record<State, string>> = {
  waiting: '○',
  queued: '◔',
  running: '▶',
  computed: '✓',
  replayed: '↺',
  stale: '✎',
  failed: '✕',
  cancelled: '⊘',
  'not taken': '–',
};

export const KINDS: Readonly<Record<NodeKind, string>> = { function: 'function', router: 'router', reducer: 'reducer' };

/** States in the order in which a person wants to read them. */
export const STATES: readonly State[] = [
  'failed',
  'running',
  'queued',
  'waiting',
  'stale',
  'computed',
  'replayed',
  'cancelled',
  'not taken',
];

/** The states that elements can be in, in the order of a bar from left to right. */
export const COUNTED = ['computed', 'replayed', 'failed', 'cancelled', 'running', 'queued', 'waiting'] as const;

export const RUN_GLYPHS: Readonly<Record<RunStatus, string>> = {
  running: GLYPHS.running,
  succeeded: GLYPHS.computed,
  failed: GLYPHS.failed,
  cancelled: GLYPHS.cancelled,
  interrupted: GLYPHS.cancelled,
};

/** `840 ms`, `3.2 s`, `4 min 05 s`, `2 h 03 min`; `seconds` below zero count as zero. */
export function duration(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s === 0) return '0 s';
  if (s < 0.0005) return '< 1 ms';
  if (s < 0.9995) return `${Math.round(s * 1000)} ms`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 59.5) return `${Math.round(s)} s`;
  const whole = Math.round(s);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** `1 element`, `12,000 elements`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** `12,000`: the same in every language, as the static form writes it. */
export function count(n: number): string {
  return n.toLocaleString('en-US');
}

/** `3.4/s`, `120/s`, `12/min`: elements per second, in the unit that gives a readable number. */
export function rate(perSecond: number): string {
  if (perSecond >= 10) return `${count(Math.round(perSecond))}/s`;
  if (perSecond >= 0.5) return `${perSecond.toFixed(1)}/s`;
  return `${(perSecond * 60).toFixed(perSecond * 60 < 10 ? 1 : 0)}/min`;
}

/** `14:03:59`, and the date before it if it isn't today's. */
export function clock(at: number, now: number): string {
  const day = (when: Date): string => when.toLocaleDateString('sv-SE');
  const then = new Date(at * 1000);
  const time = then.toLocaleTimeString('sv-SE');
  return day(then) === day(new Date(now * 1000)) ? time : `${day(then)} ${time}`;
}

/** Elements that came to an end of their own. */
export function settled(counts: Counts): number {
  return counts.computed + counts.replayed + counts.failed;
}

export function arrived(counts: Counts): number {
  return settled(counts) + counts.cancelled + counts.waiting + counts.queued + counts.running;
}

// Escape sequences of terminals: colours, cursor, titles.
const ANSI = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
// Control characters, and format characters that turn a line around or hide; joiners of emoji stay.
const UNSEEN =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** Any text as it may be shown: no escape sequences, and nothing that could turn a line around. */
export function plain(text: string): string {
  return text.replace(ANSI, '').replace(/\r\n?/g, '\n').replace(UNSEEN, '�');
}

/** One line of at most `most` characters, ended by an ellipsis where something is missing. */
export function oneLine(text: string, most: number): string {
  const line = [
    ...plain(text.slice(0, 8 * most))
      .replace(/\s+/g, ' ')
      .trim(),
  ];
  const isWhole = line.length <= most && text.length <= 8 * most;
  return isWhole ? line.join('') : `${line.slice(0, most - 1).join('')}…`;
}

/** At most `most` characters; a line that says so stands where something is missing. */
export function bounded(text: string, most: number): string {
  const shown = plain(text.slice(0, most));
  return text.length <= most ? shown : `${shown}\n… ${count(text.length - most)} more characters`;
}
