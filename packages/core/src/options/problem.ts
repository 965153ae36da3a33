import type { ErrorCode } from '../errors.js'
import type { Declarations } from './declaration.js'

/** What an option is, given or by default; undefined where it is neither, or where there is no such option. */
export type Lookup = (name: string) => unknown

/** What is wrong with an option, and where. */
export interface OptionProblem {
  /** `activations.bins`, `overrides[2].match`; empty for the whole. */
  readonly path: string
  readonly found: string
  readonly expected?: string
  readonly fix?: string
}

/** How options are written, and how errors about them read. */
export interface CheckSettings {
  /** `value`: plugins and schemes as the API has them. `json`: as a recipe has them, by package name and in short form. */
  readonly form: 'value' | 'json'
  /** Names an option in messages. */
  readonly place: (path: string) => string
  readonly code: ErrorCode
  /** What conditions of options may name beside the options themselves. */
  readonly surroundings?: Lookup
  /** `json`: what the plugins at hand take, by package name. Configurations of others are not looked into. */
  readonly configs?: Readonly<Record<string, Declarations>>
}
