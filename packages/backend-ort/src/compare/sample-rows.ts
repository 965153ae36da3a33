import type { IntegerProduct } from './integer-products.js'

/** Codes as they came out of the runtime. */
export interface Codes {
  readonly data: Uint8Array
  readonly shape: readonly number[]
}

/**
 * Rows of codes that a product multiplies with its weight, spread evenly over the output: `[rows, columns]` with the columns in the
 * order of the weight's. What lies in the padding has the zero point's code.
 * @param limit - most rows
 */
export function sampleRows(codes: Codes, product: IntegerProduct, group: number, zero: number, limit: number): Uint8Array {
  const { columns, window } = product
  if (window === undefined) return spread(Math.floor(codes.data.length / columns), limit, columns, (row, out) => out.set(codes.data.subarray(row * columns, (row + 1) * columns)))
  const { kernel, strides, dilations, pads } = window
  const [batches = 1, channels = 1, ...sizes] = codes.shape
  const outputs = sizes.map((size, i) => Math.max(0, Math.floor((size + (pads[i] ?? 0) + (pads[i + kernel.length] ?? 0) - (dilations[i] ?? 1) * ((kernel[i] ?? 1) - 1) - 1) / (strides[i] ?? 1)) + 1))
  const plane = count(sizes)
  const positions = count(outputs)
  const perGroup = channels / product.groups
  const taps = count(kernel)
  return spread(batches * positions, limit, columns, (row, out) => {
    const at = coordinates(row % positions, outputs)
    const start = (Math.floor(row / positions) * channels + group * perGroup) * plane
    for (let tap = 0; tap < taps; tap++) {
      const offset = flatIndex(coordinates(tap, kernel).map((t, i) => (at[i] ?? 0) * (strides[i] ?? 1) - (pads[i] ?? 0) + t * (dilations[i] ?? 1)), sizes)
      for (let c = 0; c < perGroup; c++) out[tap * perGroup + c] = offset === undefined ? zero : (codes.data[start + c * plane + offset] ?? 0)
    }
  })
}

function spread(rows: number, limit: number, columns: number, fill: (row: number, out: Uint8Array) => void): Uint8Array {
  const taken = Math.min(rows, limit)
  const out = new Uint8Array(taken * columns)
  for (let i = 0; i < taken; i++) fill(Math.floor(((i + 0.5) * rows) / taken), out.subarray(i * columns, (i + 1) * columns))
  return out
}

function coordinates(index: number, sizes: readonly number[]): number[] {
  const out = new Array<number>(sizes.length).fill(0)
  let rest = index
  for (let i = sizes.length - 1; i >= 0; i--) {
    out[i] = rest % (sizes[i] ?? 1)
    rest = Math.floor(rest / (sizes[i] ?? 1))
  }
  return out
}

/** Undefined outside. */
function flatIndex(at: readonly number[], sizes: readonly number[]): number | undefined {
  let index = 0
  for (const [i, size] of sizes.entries()) {
    const x = at[i] ?? 0
    if (x < 0 || x >= size) return undefined
    index = index * size + x
  }
  return index
}

function count(sizes: readonly number[]): number {
  return sizes.reduce((a, b) => a * b, 1)
}
