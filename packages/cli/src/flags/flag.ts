import { Option, type Command } from 'commander'
import { describeDefault, LowbitError, senseProblem, valueProblem, type CheckSettings, type Declaration, type ErrorParts, type OptionProblem, type ValueType } from '@lowbit/core'

/** One flag of a command: how it is written, and the option it stands for. */
export interface Flag {
  /** `-g, --group <size>`, as commander reads it. */
  readonly flags: string
  readonly option: Declaration
  /** May be given several times: the value is a list of what was given. */
  readonly repeat?: true
}

/** A flag for each member of an interface of values. */
export type FlagsOf<V> = { readonly [K in keyof V & string]-?: Flag }

type Flags = Readonly<Record<string, Flag>>

/** Adds flags to a command: help is what the options say of themselves. */
export function addFlags(command: Command, flags: Flags): Command {
  for (const { flags: written, option, repeat } of Object.values(flags)) {
    const added = new Option(written, describe(option, repeat === true))
    // Without a value there is nothing to read, nor to say twice.
    if (written.includes('<')) added.argParser((text: string, before: unknown) => {
      if (repeat === true) return [...(Array.isArray(before) ? (before as readonly unknown[]) : []), text]
      if (before !== undefined) throw argument({ thing: longName(written), found: `${JSON.stringify(before)} and ${JSON.stringify(text)}`, expected: 'it once' })
      return text
    })
    command.addOption(option.required === true ? added.makeOptionMandatory() : added)
  }
  return command
}

/**
 * The values of a command's flags, from what was written.
 * @param surroundings - what flags that are not given follow from those that are, such as the format
 * @throws LOWBIT_ARGUMENT naming the flag: values that it does not take, contradictions, and flags that would do nothing
 */
export function readFlags<V>(command: Command, flags: FlagsOf<V> & Flags, surroundings: (values: V) => (name: string) => unknown = () => () => undefined): V {
  const given: Readonly<Record<string, unknown>> = command.opts()
  const values: Record<string, unknown> = {}
  for (const [name, flag] of Object.entries<Flag>(flags)) {
    if (command.getOptionValueSource(name) !== 'cli') continue
    values[name] = parse(given[name], flag)
  }
  // Every member was read by the flag of its name.
  const read = values as V
  const around = surroundings(read)
  const lookup = (name: string): unknown => values[name] ?? around(name) ?? flags[name]?.option.default
  for (const [name, value] of Object.entries(values)) {
    const flag = flags[name]
    if (flag === undefined) continue
    // `--no-rescue` asks for something too, and would do as little.
    const problem = senseProblem(name, value === false ? 'off' : value, flag.option, values, lookup, longName(flag.flags), (other) => (flags[other] === undefined ? other : longName(flags[other].flags)))
    if (problem !== undefined) throw argument(parts(problem))
  }
  return read
}

/** `--group` of `-g, --group <size>`. */
export function longName(flags: string): string {
  return /--[a-z-]+/.exec(flags)?.[0] ?? flags
}

function describe(option: Declaration, repeat: boolean): string {
  const values = option.type === 'choice' ? `: ${option.values.join(', ')}` : ''
  return `${option.about}${values}${repeat ? '; may be repeated' : ''}${describeDefault(option)}`
}

function parse(given: unknown, { flags, option, repeat }: Flag): unknown {
  const thing = longName(flags)
  const read = (text: unknown): unknown => (typeof text === 'string' ? textValue(text, option) : text)
  const value = repeat === true && Array.isArray(given) ? given.map(read) : read(given)
  for (const one of repeat === true && Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
    const problem = valueProblem(one, option, thing, SETTINGS, () => undefined)
    if (problem !== undefined) throw argument(parts(problem))
  }
  return value
}

const SETTINGS: CheckSettings = { form: 'json', code: 'LOWBIT_ARGUMENT', place: (path) => path }

/** What a text stands for where a value of a type belongs; the text itself where it is none, for the check to refuse. */
function textValue(text: string, type: ValueType): unknown {
  switch (type.type) {
    case 'number':
    case 'integer':
      return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text)
    case 'choice':
      return type.values.find((v) => String(v) === text) ?? text
    case 'list':
      return text.split(',').map((item) => textValue(item.trim(), type.of))
    case 'either':
      return type.of.map((t) => ({ t, value: textValue(text, t) })).find(({ t, value }) => valueProblem(value, t, '', SETTINGS, () => undefined) === undefined)?.value ?? text
    default:
      return text
  }
}

function parts({ path, ...rest }: OptionProblem): ErrorParts {
  return { thing: path, ...rest }
}

function argument(of: ErrorParts): LowbitError {
  return new LowbitError('LOWBIT_ARGUMENT', of)
}
