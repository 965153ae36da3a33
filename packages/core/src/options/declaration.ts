import type { Json, PluginKind } from '../contract/v2/plugin.js'

/** Which values an option takes, as data. */
export type ValueType =
  | { readonly type: 'boolean' | 'null' | 'json' | 'scheme' }
  | { readonly type: 'number' | 'integer'; readonly minimum?: number; readonly maximum?: number; /** Exclusive limits. */ readonly above?: number; readonly below?: number; readonly multipleOf?: number }
  /** `named`: the texts that the pattern takes, in words. */
  | { readonly type: 'text'; readonly pattern?: string; readonly named?: string }
  | { readonly type: 'choice'; readonly values: readonly (string | number | boolean)[] }
  | { readonly type: 'list'; readonly of: ValueType; readonly length?: number }
  | { readonly type: 'either'; readonly of: readonly ValueType[] }
  /** An object with options of its own. */
  | { readonly type: 'options'; readonly options: Declarations }
  /** An object with any keys. */
  | { readonly type: 'record'; readonly of: ValueType }
  /** A plugin: a value in the API, a package name with or without a configuration in a recipe. */
  | { readonly type: 'plugin'; readonly kind: PluginKind }
  /** A value of the program that no JSON can hold, such as an `AbortSignal`: an object with these members, or a function. */
  | { readonly type: 'object'; readonly has: readonly string[] }
  | { readonly type: 'function' }

/** What another option must be for this one to do anything: one of these values (defaults count), or given at all. */
export type Condition = readonly (string | number | boolean)[] | 'given'

export interface OptionFacts {
  /** One sentence: what it does. */
  readonly about: string
  /** What holds when it is not given. */
  readonly default?: Json
  /** The default in words, where it is no fixed value. */
  readonly otherwise?: string
  readonly required?: boolean
  /** Without these the option would do nothing: giving it is then an error. Names options beside it, or of what surrounds it. */
  readonly when?: Readonly<Record<string, Condition>>
  /** Options that contradict it. */
  readonly excludes?: readonly string[]
}

/** One option: its values, default, range, when it applies, and one sentence. Plain data. */
export type Declaration = ValueType & OptionFacts

/** Options by name: what a plugin, a host or a command takes. */
export type Declarations = Readonly<Record<string, Declaration>>

/** A declaration for every option of an interface, no more and no fewer. Use it with `satisfies`, so that defaults keep their types. */
export type DeclarationsOf<O> = { readonly [K in keyof O & string]-?: Declaration }

/** Options after their defaults were filled in. */
export type Filled<O, D extends Declarations> = O & { readonly [K in keyof O & keyof D as D[K] extends { readonly default: unknown } ? K : never]-?: Exclude<O[K], undefined> }
