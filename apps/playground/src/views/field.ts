import { describeDefault, RECIPE_SCHEME, senseProblem, valueProblem, type CheckSettings, type Declaration, type Declarations, type PluginKind, type ValueType } from '@lowbit/core'
import { ALGORITHMS, UNION } from 'lowbit/recipes'
import { html, nothing, type TemplateResult } from 'lit-html'
import { live } from 'lit-html/directives/live.js'
import { valueAt, type Path } from '../options/recipe-path.js'

export interface Field {
  readonly name: string
  readonly declaration: Declaration
  /** Where its value stands in `value`. */
  readonly path: Path
  /** The whole object. */
  readonly value: unknown
  /** Of ids. */
  readonly prefix: string
  readonly onChange: (path: Path, value: unknown) => void
  /** What other options are. */
  readonly lookup: (name: string) => unknown
}

/** One option: its control, and its sentence. What cannot apply now is off, and says why. */
export function fieldView(field: Field): TemplateResult {
  const { name, declaration, path, value, prefix, lookup } = field
  const id = `${prefix}-${path.join('-')}`
  const own = valueAt(value, path)
  const problem = own === undefined ? senseProblem(name, 'x', { ...declaration, excludes: [] }, {}, lookup, name) : undefined
  const about = html`<span class="about" id=${`${id}-about`}>${declaration.about}${describeDefault(declaration)}${problem === undefined ? nothing : html` <em>Only with ${problem.expected ?? 'other options'}.</em>`}</span>`
  const label = words(name)
  if (isGroup(declaration)) return html`<fieldset class="group" ?disabled=${problem !== undefined}><legend>${label}</legend>${about}${groupView(field, declaration, id)}</fieldset>`
  if (declaration.type === 'boolean') {
    return html`<div class="field check"><label><input type="checkbox" id=${id} ?disabled=${problem !== undefined} .checked=${live(own === undefined ? declaration.default === true : own === true)} aria-describedby=${`${id}-about`} @change=${(e: Event) => e.target instanceof HTMLInputElement && field.onChange(path, e.target.checked === (declaration.default === true) ? undefined : e.target.checked)} />${label}</label>${about}</div>`
  }
  return html`<div class="field"><label for=${id}>${label}</label>${controlView(field, declaration, id, own, problem !== undefined)}${about}</div>`
}

function isGroup(type: ValueType): boolean {
  return type.type === 'options' || type.type === 'scheme' || type.type === 'plugin' || (type.type === 'list' && isGroup(type.of)) || (type.type === 'either' && type.of.some(isGroup))
}

function groupView(field: Field, type: ValueType, id: string): TemplateResult {
  switch (type.type) {
    case 'options':
      return optionsOf(field, type.options)
    case 'scheme':
      return optionsOf(field, RECIPE_SCHEME)
    case 'plugin':
      return pluginView(field, type.kind, id)
    case 'list':
      return listView(field, type.of, id)
    case 'either': {
      // Something that has options of its own, or null, or nothing said.
      const inner = type.of.find(isGroup)
      return inner === undefined ? html`` : groupView(field, inner, id)
    }
    default:
      return html``
  }
}

function optionsOf(field: Field, options: Declarations): TemplateResult {
  const { path, value, lookup } = field
  return html`<div class="fields">${Object.entries(options).map(([name, declaration]) => fieldView({ ...field, name, declaration, path: [...path, name], lookup: (other) => (Object.hasOwn(options, other) ? (valueAt(value, [...path, other]) ?? options[other].default) : lookup(other)) }))}</div>`
}

function pluginView(field: Field, kind: PluginKind, id: string): TemplateResult {
  const { path, value, onChange } = field
  const use = valueAt(value, path)
  const name = typeof use === 'string' ? use : valueAt(use, ['use'])
  const options = typeof name === 'string' ? UNION.configs?.[name] : undefined
  return html`
    <select id=${id} aria-label=${words(field.name)} @change=${(e: Event) => e.target instanceof HTMLSelectElement && onChange(path, e.target.value === '' ? undefined : e.target.value)}>
      <option value="" ?selected=${name === undefined}>default</option>
      ${namesOf(kind).map((n) => html`<option value=${n} ?selected=${n === name}>${n}</option>`)}
    </select>
    ${options === undefined || Object.keys(options).length === 0 ? nothing : optionsOf({ ...field, path: [...path, 'config'], onChange: (at, v) => onChange(...configured(path, use, at, v)) }, options)}
  `
}

/** A configuration makes an object of what was a name. */
function configured(path: Path, use: unknown, at: Path, value: unknown): [Path, unknown] {
  if (typeof use !== 'string') return [at, value]
  const [key] = at.slice(path.length + 1)
  return [path, value === undefined || key === undefined ? use : { use, config: { [key]: value } }]
}

/** Algorithms of a kind; each is asked once what it is. */
const kinds = new Map<string, PluginKind>()

function namesOf(kind: PluginKind): readonly string[] {
  return Object.keys(ALGORITHMS).filter((name) => {
    const known = kinds.get(name) ?? ALGORITHMS[name]({}).kind
    kinds.set(name, known)
    return known === kind
  })
}

function listView(field: Field, of: ValueType, id: string): TemplateResult {
  const { path, value, onChange, name } = field
  const items = valueAt(value, path)
  const list: readonly unknown[] = Array.isArray(items) ? items : []
  const fresh = of.type === 'plugin' ? namesOf(of.kind)[0] : of.type === 'options' ? { match: '*' } : {}
  return html`
    ${list.map((_, i) => html`<div class="item">${groupView({ ...field, path: [...path, i] }, of, `${id}-${i}`)}<button type="button" class="quiet small" @click=${() => onChange([...path, i], undefined)}>Remove</button></div>`)}
    <button type="button" class="quiet small" @click=${() => onChange([...path, list.length], fresh)}>Add to ${words(name)}</button>
  `
}

const SETTINGS: CheckSettings = { form: 'json', code: 'LOWBIT_ARGUMENT', place: (path) => path }

function controlView({ path, onChange }: Field, type: ValueType, id: string, own: unknown, isOff: boolean): TemplateResult {
  if (type.type === 'choice') {
    return html`<select id=${id} ?disabled=${isOff} aria-describedby=${`${id}-about`} @change=${(e: Event) => e.target instanceof HTMLSelectElement && onChange(path, type.values.find((v) => String(v) === (e.target instanceof HTMLSelectElement ? e.target.value : '')))}>
      <option value="" ?selected=${own === undefined}>default</option>
      ${type.values.map((v) => html`<option value=${String(v)} ?selected=${v === own}>${v}</option>`)}
    </select>`
  }
  const isNumber = type.type === 'number' || type.type === 'integer'
  const onInput = (event: Event): void => {
    if (!(event.target instanceof HTMLInputElement)) return
    const read = readValue(event.target.value, type)
    event.target.setCustomValidity(read.problem ?? '')
    event.target.reportValidity()
    if (read.problem === undefined) onChange(path, read.value)
  }
  return html`<input id=${id} type=${isNumber ? 'number' : 'text'} step=${isNumber ? 'any' : nothing} ?disabled=${isOff} .value=${live(textOf(own))} placeholder=${isNumber || type.type === 'text' ? nothing : example(type)} aria-describedby=${`${id}-about`} @change=${onInput} />`
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (Array.isArray(value)) return value.map(String).join(', ')
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function example(type: ValueType): string | typeof nothing {
  return type.type === 'list' ? 'several, with commas' : nothing
}

/** What a text stands for where a value of a type belongs. */
function readValue(text: string, type: ValueType): { readonly value?: unknown; readonly problem?: string } {
  if (text.trim() === '') return {}
  const value = valueOf(text.trim(), type)
  const problem = valueProblem(value, type, '', SETTINGS, () => undefined)
  return problem === undefined ? { value } : { problem: `${problem.found}; expected ${problem.expected ?? 'something else'}` }
}

function valueOf(text: string, type: ValueType): unknown {
  switch (type.type) {
    case 'number':
    case 'integer':
      return Number(text)
    case 'choice':
      return type.values.find((v) => String(v) === text) ?? text
    case 'list':
      return text.split(',').map((item) => valueOf(item.trim(), type.of))
    case 'either':
      return type.of.map((t) => valueOf(text, t)).find((v, i) => valueProblem(v, type.of[i], '', SETTINGS, () => undefined) === undefined) ?? text
    case 'json':
    case 'record':
      try {
        return JSON.parse(text)
      } catch {
        return text
      }
    default:
      return text
  }
}

/** `biasCorrection` → `bias correction` */
function words(name: string): string {
  return name.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`)
}
