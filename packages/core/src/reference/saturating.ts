/** Codes of an integer product: activations unsigned, weights signed, as ONNX Runtime's x86 kernels take them. */
export interface CodeProduct {
  /** `[M, K]` */
  readonly activations: Uint8Array
  /** `[N, K]` */
  readonly weights: Int8Array
  readonly rows: number
  readonly columns: number
}

const INT16_MAX = 32767

/** `activations × weightsᵀ`, exact int32 `[M, N]`. */
export function exactCodeMatmul(product: CodeProduct): Int32Array<ArrayBuffer> {
  return pairwise(product, (sum) => sum)
}

/**
 * The same on x86 without VNNI (`vpmaddubsw`): products are added in pairs along K, and each pair sum saturates to int16.
 * Exact where `|weight| <= 64`; with full-range weights it can be far off. For warnings on machines that do not have the fault.
 */
export function saturatingCodeMatmul(product: CodeProduct): Int32Array<ArrayBuffer> {
  return pairwise(product, (sum) => (sum > INT16_MAX ? INT16_MAX : sum < -INT16_MAX - 1 ? -INT16_MAX - 1 : sum))
}

function pairwise({ activations, weights, rows, columns }: CodeProduct, pair: (sum: number) => number): Int32Array<ArrayBuffer> {
  const samples = columns === 0 ? 0 : activations.length / columns
  const out = new Int32Array(samples * rows)
  for (let m = 0; m < samples; m++) {
    for (let n = 0; n < rows; n++) {
      let sum = 0
      for (let k = 0; k < columns; k += 2) {
        const first = (activations[m * columns + k] ?? 0) * (weights[n * columns + k] ?? 0)
        const second = k + 1 < columns ? (activations[m * columns + k + 1] ?? 0) * (weights[n * columns + k + 1] ?? 0) : 0
        sum += pair(first + second)
      }
      out[m * rows + n] = sum
    }
  }
  return out
}
