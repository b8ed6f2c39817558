/** The inputs of a run, typed in; the kernel checks them as a run would, before anything starts. */

import { h, newId, setAttribute, setText } from './dom';
import { type InputForm, type PanelState, parseState } from './messages';
import type { Pane, PaneContext } from './panes';
import { type Field, fromText, toFields, toText } from './schemaFields';
import { bounded, oneLine } from './words';

const CHECK_MS = 300;

interface Shown {
  readonly field: Field;
  readonly input: HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;
  readonly error: HTMLElement;
}

export function createInputForm(context: PaneContext): Pane {
  return new Form(context);
}

class Form implements Pane {
  readonly element = h('form', { class: 'tlk-form', novalidate: true, 'aria-label': 'Inputs of the run' });
  private readonly gone = new AbortController();
  private readonly problems = h('div', { class: 'tlk-field-error', role: 'alert' });
  private shown: readonly Shown[] = [];
  private drawn = '';
  private timer: ReturnType<typeof setTimeout> | null = null;
  private isBusy = false;

  constructor(private readonly context: PaneContext) {
    const { signal } = this.gone;
    this.element.addEventListener(
      'submit',
      (event) => {
        event.preventDefault();
        void this.run();
      },
      { signal },
    );
    this.element.addEventListener('tlk-run', () => void this.run(), { signal });
    this.element.addEventListener('tlk-plan', () => void this.plan(), { signal });
    this.element.addEventListener('input', () => this.checkSoon(), { signal });
  }

  update(state: PanelState): void {
    const form = state.form;
    const key = JSON.stringify([form?.schema, state.graphKey]);
    if (form === null || key === this.drawn) return;
    this.drawn = key;
    this.draw(form);
  }

  dispose(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.gone.abort();
  }

  /** Made once per signature; what was typed into a field that stays is kept. */
  private draw(form: InputForm): void {
    const typed = new Map(this.shown.map(({ field, input }) => [field.name, read(input)]));
    this.shown = toFields(form.schema, form.values).map((field) => this.field(field, typed.get(field.name)));
    this.element.hidden = this.shown.length === 0;
    this.element.replaceChildren(
      ...this.shown.map(({ field, input, error }) =>
        h(
          'div',
          { class: 'tlk-field', 'data-field': field.name },
          h(
            'label',
            { for: input.id },
            oneLine(field.name, 60),
            field.isRequired ? h('span', { class: 'tlk-required', title: 'required' }, ' *') : null,
          ),
          input,
          field.help ? h('div', { class: 'tlk-help', id: `${input.id}-help` }, bounded(field.help, 400)) : null,
          error,
        ),
      ),
      this.problems,
    );
  }

  private field(field: Field, typed: string | undefined): Shown {
    const id = newId();
    const error = h('div', { class: 'tlk-field-error', id: `${id}-error` });
    const text = typed ?? toText(field, field.initial);
    const common = {
      id,
      name: field.name,
      autocomplete: 'off',
      'aria-required': String(field.isRequired),
      'aria-describedby': `${field.help ? `${id}-help ` : ''}${id}-error`,
    };
    let input: Shown['input'];
    if (field.kind === 'choice' || field.kind === 'boolean') {
      const choices =
        field.kind === 'boolean'
          ? [
              ['true', 'yes'],
              ['false', 'no'],
            ]
          : field.choices.map((each, i) => [String(i), typeof each === 'string' ? each : JSON.stringify(each)]);
      const empty = field.initial === undefined || field.mayBeNull ? [['', '']] : [];
      input = h(
        'select',
        common,
        ...[...empty, ...choices].map(([value, words]) =>
          h('option', { value: value ?? '' }, oneLine(words ?? '', 80)),
        ),
      );
      input.value = text;
    } else if (field.kind === 'json') {
      input = h('textarea', {
        ...common,
        rows: Math.min(6, Math.max(1, Math.ceil(text.length / 60))),
        spellcheck: 'false',
      });
      input.value = text;
    } else {
      const isNumber = field.kind === 'integer' || field.kind === 'number';
      input = h('input', { ...common, type: 'text', inputmode: isNumber ? 'decimal' : null, spellcheck: 'false' });
      input.value = text;
    }
    return { field, input, error };
  }

  /** The values, or null after saying what can't be read. */
  private collect(isSaid: boolean): Record<string, unknown> | null {
    const values: Record<string, unknown> = {};
    const errors: Record<string, string> = {};
    for (const { field, input } of this.shown) {
      const found = fromText(field, read(input));
      if ('error' in found) errors[field.name] = found.error;
      else if ('value' in found) values[field.name] = found.value;
    }
    if (Object.keys(errors).length === 0) return values;
    if (isSaid) this.explain(errors, [], true);
    return null;
  }

  private explain(fields: Readonly<Record<string, string>>, problems: readonly string[], isFocused: boolean): void {
    for (const { field, input, error } of this.shown) {
      const message = fields[field.name];
      setText(error, message === undefined ? '' : bounded(message, 1000));
      setAttribute(input, 'aria-invalid', message === undefined ? null : 'true');
    }
    const others = Object.entries(fields).filter(([name]) => !this.shown.some(({ field }) => field.name === name));
    setText(
      this.problems,
      [...problems, ...others.map(([name, message]) => `${name}: ${message}`)]
        .map((each) => bounded(each, 1000))
        .join('\n'),
    );
    if (isFocused) this.shown.find(({ field }) => field.name in fields)?.input.focus();
  }

  private checkSoon(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.context.plan(null);
    this.timer = setTimeout(() => {
      this.timer = null;
      const values = this.collect(false);
      if (values !== null) void this.check(values, false);
    }, CHECK_MS);
  }

  /** Whether the kernel would take these values; what is wrong stands at its field. */
  private async check(inputs: Record<string, unknown>, isFocused: boolean): Promise<boolean> {
    const graph = this.context.state().graphKey;
    if (graph === null) return false;
    try {
      const { fields, problems } = await this.context.channel.ask<'validate'>(
        { kind: 'validate', graph, inputs },
        this.gone.signal,
      );
      this.explain(fields, problems, isFocused);
      return Object.keys(fields).length === 0 && problems.length === 0;
    } catch (error) {
      if (!this.gone.signal.aborted) this.explain({}, [error instanceof Error ? error.message : String(error)], false);
      return false;
    }
  }

  private async run(): Promise<void> {
    const graph = this.context.state().graphKey;
    const inputs = this.collect(true);
    if (graph === null || inputs === null || this.isBusy) return;
    this.isBusy = true; // a second click begins no second run
    try {
      if (!(await this.check(inputs, true))) return;
      this.context.show(
        parseState(await this.context.channel.ask<'run'>({ kind: 'run', graph, inputs }, this.context.signal)),
      );
    } catch (error) {
      if (!this.gone.signal.aborted) this.explain({}, [error instanceof Error ? error.message : String(error)], false);
    } finally {
      this.isBusy = false;
    }
  }

  private async plan(): Promise<void> {
    const graph = this.context.state().graphKey;
    const inputs = this.collect(true);
    if (graph === null || inputs === null || !(await this.check(inputs, true))) return;
    try {
      const found = await this.context.channel.ask<'plan'>({ kind: 'plan', graph, inputs }, this.gone.signal);
      this.context.plan(found);
    } catch (error) {
      if (!this.gone.signal.aborted) this.explain({}, [error instanceof Error ? error.message : String(error)], false);
    }
  }
}

function read(input: Shown['input']): string {
  return input.value;
}
