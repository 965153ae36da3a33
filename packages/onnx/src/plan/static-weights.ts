import { codeRange, LowbitError, type QTensor, type StoredTensor, zeroPointsOf } from '@lowbit/core'
import type { SiteRecord } from '../sites/index.js'
import { stored } from './onnx-plan.js'
import type { WeightStorage } from './settings.js'

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

/** @throws LOWBIT_UNSUPPORTED for anything but symmetric 8-bit codes per tensor or channel */
export function expectSuitable(record: SiteRecord, q: QTensor): void {
  const reason = unsuitableWeight(q)
  if (reason === undefined) return
  throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `weight of '${record.site.id}'`, found: reason, expected: 'int8 symmetric, per tensor or per channel', fix: 'integer kernels take no other weights: choose int8, or a weight-only format' })
}

/**
 * The same weight over coarser scales, one in all or one a row: a bias that has to fit int32 has raised some.
 * @throws LOWBIT_NONFINITE for a scale that a bias without end asks for
 */
export function withScales(q: QTensor, scales: Float32Array<ArrayBuffer>): QTensor {
  const [rows = 0, columns = 0] = q.shape
  const perRow = q.params.scales.length > 1
  const zeros = zeroPointsOf(q)
  const { min, max } = codeRange(q.scheme.dtype)
  const codes = q.codes.slice()
  for (let n = 0; n < rows; n++) {
    const granule = perRow ? n : 0
    const before = q.params.scales[granule] ?? 1
    const after = scales[granule] ?? 1
    if (before === after) continue
    if (!Number.isFinite(after)) throw new LowbitError('LOWBIT_NONFINITE', { thing: 'weight scale', found: String(after), expected: 'a finite number', fix: 'look at the bias of the layer' })
    const zero = zeros[granule] ?? 0
    for (let i = n * columns; i < (n + 1) * columns; i++) codes[i] = Math.min(max, Math.max(min, Math.round((q.codes[i] - zero) * (before / after)) + zero))
  }
  return { ...q, codes, params: { ...q.params, scales } }
}

/** The tensors of a weight that the runtime fuses into an integer operator. */
export function staticTensors({ matrix }: SiteRecord, q: QTensor, storage: WeightStorage): readonly StoredTensor[] {
  const grid = q.scheme.granularity.kind === 'channel' ? [matrix.rows] : []
  return [stored('codes', storage, matrix.shape), stored('scales', 'float32', grid), stored('zeroPoints', storage, grid)]
}

/** Axis of a weight's output channels as the operator takes it. */
export function outputAxis({ matrix }: SiteRecord): number {
  switch (matrix.orientation) {
    case 'NK': return 0
    case 'KN': return matrix.shape.length - 1
    case 'convTranspose': return 1
  }
}
