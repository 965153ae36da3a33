/** Weights in a provider's own layout. Freed by `dispose` or `using`. */
export interface PackedWeights extends Disposable {
  /** N: output features. */
  readonly rows: number
  /** K: input features. */
  readonly columns: number
  /** Bytes held, padding and scales included. */
  readonly bytes: number
  dispose(): void
}

/**
 * What the input of a product becomes: `int8` codes with one scale a row; with `int8-group` one scale for each group that the
 * weights have along K (a row where they have none), so that one large value costs its own group alone; `float32`: nothing.
 */
export type KernelActivations = 'int8' | 'int8-group' | 'float32'

/** A value now, or later on an asynchronous device. */
export type Awaitable<T> = T | Promise<T>
