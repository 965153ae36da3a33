import type { Json } from '../contract/v2/plugin.js'
import type { RecipeScheme } from '../options/scheme-options.js'
import type { StaticActivations } from '../pipeline/options.js'

/** An algorithm by package name, with a configuration or without. */
export type PluginUse = string | { readonly use: string; readonly config?: { readonly [key: string]: Json }; readonly version?: string }

/** A run as JSON: what can be committed, pinned and repeated. `recipeSchema` is its JSON Schema. */
export interface Recipe {
  readonly $schema?: string
  readonly lowbit: 1
  readonly model?: string
  readonly output?: string
  readonly format?: string
  readonly weights: RecipeScheme
  readonly activations?: Omit<StaticActivations, 'observer'> & { readonly observer?: PluginUse }
  readonly rounding?: PluginUse
  readonly transforms?: readonly PluginUse[]
  /** Exact versions: any other refuses to run. */
  readonly plugins?: Readonly<Record<string, string>>
  readonly overrides?: readonly { readonly match: string; readonly weights?: RecipeScheme | null; readonly rounding?: PluginUse }[]
  readonly include?: readonly string[]
  readonly exclude?: readonly string[]
  readonly mode?: 'one-pass' | 'sequential'
  readonly biasCorrection?: boolean
  readonly calibration?: { readonly path: string; readonly [key: string]: Json }
  readonly allowNothing?: boolean
  readonly maxMemory?: number
  readonly seed?: number
  readonly settings?: Readonly<Record<string, Json>>
}
