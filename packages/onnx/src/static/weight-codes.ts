import { LowbitError, type QTensor } from '@lowbit/core'
import { fromRows } from '../sites/matrix.js'
import type { SiteRecord } from '../sites/site-record.js'

/** Integer type a weight is stored as. `uint8` is int8 moved up by 128: the same values, another kernel. */
export type WeightStorage = 'uint8' | 'int8'

/** A weight as its operator takes it. */
export interface StoredWeight {
  readonly codes: Uint8Array<ArrayBuffer> | Int8Array<ArrayBuffer>
  readonly shape: readonly number[]
  /** One, or one an output channel. */
  readonly scales: Float32Array
  readonly zeroPoint: number
  /** Axis of the output channels; undefined per tensor. */
  readonly axis: number | undefined
}

/**
 * Puts the codes of an `[N, K]` weight into the shape and element type of the file.
 * @param scales - in place of the tensor's own, where a bias has raised some
 * @throws LOWBIT_UNSUPPORTED for anything but symmetric 8-bit codes per tensor or channel
 */
export function storeWeight(record: SiteRecord, q: QTensor, storage: WeightStorage, scales: Float32Array = q.params.scales): StoredWeight {
  const reason = unsuitableWeight(q)
  if (reason !== undefined) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `weight of '${record.site.id}'`, found: reason, expected: 'int8 symmetric, per tensor or per channel', fix: 'integer kernels take no other weights: choose int8, or a weight-only format' })
  }
  const up = storage === 'uint8' ? 128 : 0
  const codes = storage === 'uint8' ? new Uint8Array(q.codes.length) : new Int8Array(q.codes.length)
  const { rows, columns, shape } = record.matrix
  const perChannel = q.scheme.granularity.kind === 'channel'
  for (let n = 0; n < rows; n++) {
    const granule = perChannel ? n : 0
    const ratio = (q.params.scales[granule] ?? 1) / (scales[granule] ?? 1)
    for (let i = n * columns; i < (n + 1) * columns; i++) {
      const code = q.codes[i] ?? 0
      codes[i] = (ratio === 1 ? code : Math.round(code * ratio)) + up
    }
  }
  return { codes: fromRows(codes, record.matrix), shape, scales, zeroPoint: up, axis: perChannel ? outputAxis(record) : undefined }
}

/** Why integer kernels cannot take a weight. */
export function unsuitableWeight({ scheme }: Pick<QTensor, 'scheme'>): string | undefined {
  const { granularity: g } = scheme
  if (scheme.dtype !== 'int8') return `${scheme.dtype} codes`
  if (!scheme.symmetric) return 'zero points'
  return g.kind === 'tensor' || (g.kind === 'channel' && g.axis === 0) ? undefined : `a scale per ${g.kind}`
}

/** True for 16-bit codes: stored as they are, multiplied as floats. */
export function isWideWeight({ scheme }: Pick<QTensor, 'scheme'>): boolean {
  return scheme.dtype === 'int16' || scheme.dtype === 'uint16'
}

/** Axis of a weight's output channels as the operator takes it. */
export function outputAxis({ matrix }: SiteRecord): number {
  switch (matrix.orientation) {
    case 'NK': return 0
    case 'KN': return matrix.shape.length - 1
    case 'convTranspose': return 1
  }
}
