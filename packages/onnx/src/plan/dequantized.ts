import { type QTensor, zeroPointsOf, type StoredTensor } from '@lowbit/core'
import type { OnnxType } from '@lowbit/formats'
import type { SiteRecord } from '../sites/index.js'
import type { NewWeight } from './builder.js'
import { stored, type WeightForm } from './onnx-plan.js'
import type { Expand } from './settings.js'
import { expectStoredType, plainGranularity, type StoredType, wholeZeroPoints } from './stored-codes.js'

/**
 * A weight whose codes become floats in front of its operator. Per tensor and per channel they lie as the operator takes its
 * weight. Groups are blocked quantization from opset 21 on; below, and with float zero points, each group becomes a channel of an
 * `[N · groups, size]` matrix that is then reshaped, which every opset has.
 */
export function dequantized(owner: SiteRecord, sites: readonly SiteRecord[], weight: QTensor, opset: number, expand: Expand = 'run', reason?: string, input: NewWeight['input'] = 'float'): NewWeight {
  const q = plainGranularity(weight)
  const form = expand === 'load' ? 'expanded' : formOf(owner, q, opset)
  const type = expectStoredType(q.scheme, `weight of site '${owner.site.id}'`)
  return { owner, sites, q, form, tensors: TENSORS[form](owner, q, type), operator: (record) => record.op, reason, input }
}

type Dequantized = Extract<WeightForm, 'in-place' | 'blocked' | 'regrouped' | 'expanded'>

function formOf({ matrix }: SiteRecord, q: QTensor, opset: number): Dequantized {
  const { kind } = q.scheme.granularity
  if (hasFloatZeros(q) || (matrix.orientation === 'convTranspose' && matrix.groups > 1 && kind !== 'tensor')) return 'regrouped'
  if (kind !== 'group') return 'in-place'
  return opset >= 21 && matrix.orientation !== 'convTranspose' ? 'blocked' : 'regrouped'
}

/** True for zero points that no integer type holds. */
export function hasFloatZeros({ scheme, params }: QTensor): boolean {
  return scheme.zeroPoint === 'float' && params.zeroPoints !== undefined
}

/** Elements along K that share a scale. */
export function groupSize({ matrix }: SiteRecord, { scheme: { granularity } }: QTensor): number {
  return granularity.kind === 'group' ? granularity.size : matrix.columns
}

const TENSORS: Readonly<Record<Dequantized, (owner: SiteRecord, q: QTensor, type: StoredType) => readonly StoredTensor[]>> = {
  'in-place': ({ matrix, floatType }, q, type) => {
    const grid = q.scheme.granularity.kind === 'channel' ? [matrix.rows] : []
    return [stored('codes', type, matrix.shape), stored('scales', floatType, grid), ...zeroPoints(q, type, grid)]
  },
  blocked: (owner, q, type) => {
    const { rows, columns, orientation } = owner.matrix
    const groups = Math.ceil(columns / groupSize(owner, q))
    const turned = orientation === 'KN'
    const grid = turned ? [groups, rows] : [rows, groups]
    return [stored('codes', type, turned ? [columns, rows] : [rows, columns]), stored('scales', owner.floatType, grid), ...zeroPoints(q, type, grid)]
  },
  regrouped: (owner, q, type) => {
    const size = groupSize(owner, q)
    const granules = owner.matrix.rows * Math.ceil(owner.matrix.columns / size)
    const zeros = hasFloatZeros(q) ? [stored('shift', owner.floatType, [granules, 1])] : zeroPoints(q, type, [granules])
    return [stored('codes', type, [granules, size]), stored('scales', owner.floatType, [granules]), ...zeros]
  },
  expanded: (owner, q, type) => {
    const size = groupSize(owner, q)
    const granules = owner.matrix.rows * Math.ceil(owner.matrix.columns / size)
    const isNibble = type === 'int4' || type === 'uint4'
    const codes = isNibble ? stored('codes', 'uint8', [Math.ceil((granules * size) / 2), 1]) : stored('codes', type, [granules, size])
    const centre = hasFloatZeros(q) ? undefined : wholeZeroPoints(q)
    const isSame = centre === undefined || centre.every((z) => z === centre[0])
    // Signed nibbles are stored moved up by 8, and so always have one.
    const zeros = centre === undefined && type !== 'int4' ? [] : [stored('zeroPoints', 'float32', isSame ? [1, 1] : [granules, 1])]
    const shift = hasFloatZeros(q) ? [stored('shift', owner.floatType, [granules, 1])] : []
    return [codes, ...zeros, stored('scales', 'float32', [granules, 1]), ...shift]
  },
}

/**
 * int8 with several scales gets its zeros written out: ONNX Runtime's rewrite to uint8 (session option x64quantprecision) makes a
 * scalar of absent ones, and then refuses to run.
 */
function zeroPoints(q: QTensor, type: OnnxType, grid: readonly number[]): readonly StoredTensor[] {
  const isNeeded = (type === 'int8' && grid.length > 0) || zeroPointsOf(q).some((z) => z !== 0)
  return !isNeeded ? [] : [stored('zeroPoints', type, grid)]
}
