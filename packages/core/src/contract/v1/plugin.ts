import type { Json } from '../v2/plugin.js'

export type PluginKind = 'host' | 'rounding' | 'transform' | 'training' | 'kernels'

/** What every plugin carried. */
export interface Plugin<K extends PluginKind> {
  readonly kind: K
  readonly name: string
  readonly version: string
  readonly apiVersion: 1
  readonly config: Json
}
