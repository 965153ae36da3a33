import { type BatchSource, decibels, exactCodeMatmul, type HostTensor, saturatingCodeMatmul, type SiteSaturation, throwIfAborted } from '@lowbit/core'
import type { OnnxHost } from '../host/onnx-host.js'
import { findIntegerProducts, type IntegerProduct } from './integer-products.js'
import { sampleRows } from './sample-rows.js'

export interface SaturationOptions {
  /** Batches to look at. Default 2. */
  readonly batches?: number
  readonly signal?: AbortSignal
}

/** Products of one site and batch that are multiplied out: enough for a share of sums, at a bearable cost. */
const MAX_WORK = 1.6e7
const MAX_ROWS = 48
/** Sites whose codes leave the runtime in one run. */
const SITES_A_RUN = 16
/** Two products of 255 and this weight fit 16 bits. */
const SAFE_WEIGHT = 64

/**
 * Finds where an integer model would compute something else on x86 without VNNI: kernels for signed weights add pairs of products in
 * 16 bits there, and saturate; signed activations go through them moved up by 128. Takes the model's own codes and multiplies samples of them as such a kernel
 * does, so that it tells on any machine. Products of unsigned weights (lowbit's default) never saturate.
 * @returns the sites where sums differ, worst first
 */
export async function findSaturation(host: OnnxHost, data: BatchSource, options: SaturationOptions = {}): Promise<readonly SiteSaturation[]> {
  const graph = host.graphNow()
  const products = (await findIntegerProducts(graph, (t) => host.loadTensor(t))).filter(({ weights }) => weights.some((w) => w > SAFE_WEIGHT || w < -SAFE_WEIGHT))
  if (products.length === 0) return []
  for (const { codes, zeroPoint } of products) for (const name of [codes, zeroPoint]) if (name !== '' && !graph.isInput(name) && graph.constant(name) === undefined) graph.addOutput(name)
  const session = await host.openGraph(graph)
  const meters = new Map(products.map((product) => [product, new SaturationMeter(product)]))
  try {
    let seen = 0
    for await (const batch of data) {
      if (seen++ >= (options.batches ?? 2)) break
      for (let at = 0; at < products.length; at += SITES_A_RUN) {
        throwIfAborted(options.signal, 'search for saturation')
        const some = products.slice(at, at + SITES_A_RUN)
        const wanted = [...new Set(some.flatMap(({ codes, zeroPoint }) => [codes, zeroPoint]))].filter((name) => session.outputs.some((o) => o.name === name))
        const values = { ...batch, ...(await session.run(batch, wanted)) }
        for (const product of some) meters.get(product)?.add(values[product.codes], values[product.zeroPoint])
      }
    }
  } finally {
    await session.release()
  }
  return [...meters.values()].flatMap((meter) => meter.result()).sort((a, b) => a.sqnr - b.sqnr)
}

/** As the kernel multiplies them: signed activations are moved up by 128 on the way into it. */
function unsignedCodes({ data, dtype }: HostTensor): Uint8Array | undefined {
  if (data instanceof Int8Array) return Uint8Array.from(data, (code) => code + 128)
  return dtype === 'uint8' && data instanceof Uint8Array ? data : undefined
}

/** What saturation would do to the sums of one product. */
class SaturationMeter {
  readonly #product: IntegerProduct
  readonly #weightSums: Float64Array
  #signal = 0
  #noise = 0
  #different = 0
  #sums = 0

  constructor(product: IntegerProduct) {
    this.#product = product
    const { weights, rows, columns } = product
    this.#weightSums = Float64Array.from({ length: rows }, (_, n) => weights.subarray(n * columns, (n + 1) * columns).reduce((sum, w) => sum + w, 0))
  }

  add(codes: HostTensor | undefined, zeroPoint: HostTensor | undefined): void {
    const product = this.#product
    const data = codes === undefined ? undefined : unsignedCodes(codes)
    if (codes === undefined || data === undefined) return
    const zero = Number(zeroPoint?.data[0] ?? product.zero) + (codes.dtype === 'int8' ? 128 : 0)
    const { weights, rows, columns, groups, scales } = product
    const perGroup = rows / groups
    const limit = Math.max(2, Math.min(MAX_ROWS, Math.floor(MAX_WORK / (rows * columns))))
    for (let group = 0; group < groups; group++) {
      const activations = sampleRows({ data, shape: codes.shape }, product, group, zero, limit)
      const part = { activations, weights: weights.subarray(group * perGroup * columns, (group + 1) * perGroup * columns), rows: perGroup, columns }
      const exact = exactCodeMatmul(part)
      const saturated = saturatingCodeMatmul(part)
      exact.forEach((sum, i) => {
        const n = group * perGroup + (i % perGroup)
        const scale = scales[scales.length === 1 ? 0 : n] ?? 1
        const value = sum - zero * (this.#weightSums[n] ?? 0)
        const error = (saturated[i] ?? 0) - sum
        this.#signal += (value * scale) ** 2
        this.#noise += (error * scale) ** 2
        if (error !== 0) this.#different++
      })
      this.#sums += exact.length
    }
  }

  result(): readonly SiteSaturation[] {
    if (this.#different === 0) return []
    const { id, op } = this.#product
    return [{ id, op, share: this.#different / this.#sums, sqnr: decibels(this.#signal, this.#noise) }]
  }
}
