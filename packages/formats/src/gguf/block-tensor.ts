/** K-quants: a scale (and minimum) of a group is a small integer times one of the super-block. */
export interface TwoLevelScales {
  /** Values under one `d`: 256. */
  readonly block: number
  /** float16 values, one a super-block `[N, K / block]`. */
  readonly d: Float32Array
  /** One a group `[N, K / group]`: `scales = d · subScales`. */
  readonly subScales: Int8Array
  /** Where the type has minima: `minima = -dmin · subMinima`. */
  readonly dmin?: Float32Array
  readonly subMinima?: Uint8Array
}

/**
 * The meaning of a tensor of ggml blocks, nothing rounded:
 * `value = f32(f32(scale · level) + minimum)` with `level` the code, or `table[code]` where there is a table.
 */
export interface BlockTensor {
  /** `Q4_0`, `Q6_K`, … */
  readonly type: string
  /** `[..., K]`, outermost first. */
  readonly shape: readonly number[]
  /** Neighbours along K that share scale and minimum. */
  readonly group: number
  /** One a byte, already signed where the type is symmetric (`Q4_0`: -8 … 7); entries of `table` where there is one. */
  readonly codes: Int8Array
  /** Levels by code (IQ4, MXFP4, NVFP4). */
  readonly table?: Float32Array
  /** One a group, row major. */
  readonly scales: Float32Array
  /** What is added, one a group; absent where the type has none. */
  readonly minima?: Float32Array
  readonly twoLevel?: TwoLevelScales
}
