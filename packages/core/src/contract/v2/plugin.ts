/** Any JSON value: configurations, recipes, metadata. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

export type PluginKind = 'host' | 'rounding' | 'transform' | 'training' | 'kernels' | 'observer' | 'adapter'

/**
 * What every plugin carries. A plugin is a plain value that the user passes: nothing is registered globally.
 * `apiVersion` is read before any other member.
 */
export interface Plugin<K extends PluginKind> {
  readonly kind: K
  /** npm name of the package that made it, such as `@lowbit/algos-gptq`; core's own are `@lowbit/core/rtn`. */
  readonly name: string
  /** Version of that package. */
  readonly version: string
  /** The contract it was written for: the number itself, not a constant of core, which would change with the core it is installed beside. */
  readonly apiVersion: 2
  /** Everything that changes the result, as JSON: it goes into the artifact's metadata. */
  readonly config: Json
}
