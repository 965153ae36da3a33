import { decodeFloat16, encodeFloat16, LowbitError, type HostTensor } from '@lowbit/core'
import { readAwq, writeAwq } from './awq.js'
import { readBitnet, writeBitnet } from './bitnet.js'
import { readBitsandbytes, writeBitsandbytes } from './bitsandbytes.js'
import { readCompressed, writeCompressed } from './compressed-tensors.js'
import { readGptq, writeGptq } from './gptq.js'
import { groupedValues, type GroupedWeight } from './grouped-weight.js'
import { readMlx, writeMlx } from './mlx.js'

/** What a weight can be repacked to; the last is bitsandbytes with its block scales quantized too. */
export const PACKINGS = ['gptq', 'gptq_v2', 'awq', 'compressed-tensors', 'mlx', 'bitnet', 'nf4', 'nf4-nested'] as const

export type Packing = (typeof PACKINGS)[number]

/** What a packing holds, as far as it is the same for every weight. */
export interface PackingRules {
  /** Bits of unsigned codes, fewest first. */
  readonly bits: readonly number[]
  /** Group sizes; absent: any. */
  readonly groups?: readonly number[]
  /** Scales are stored in float16. */
  readonly halfScales: boolean
  /** Integer zero points; else `minimum` of a group. */
  readonly zeroPoints: boolean
  readonly actOrder: boolean
}

/** Packings of integer codes; the others hold ternary codes or a table. */
export const PACKING_RULES: Readonly<Partial<Record<Packing, PackingRules>>> = {
  gptq: { bits: [2, 3, 4, 8], halfScales: true, zeroPoints: true, actOrder: true },
  gptq_v2: { bits: [2, 3, 4, 8], halfScales: true, zeroPoints: true, actOrder: true },
  awq: { bits: [4], halfScales: true, zeroPoints: true, actOrder: false },
  'compressed-tensors': { bits: [2, 3, 4, 5, 6, 7, 8], halfScales: false, zeroPoints: true, actOrder: false },
  mlx: { bits: [2, 3, 4, 5, 6, 8], groups: [32, 64, 128], halfScales: false, zeroPoints: false, actOrder: false },
}

/** The tensors of a weight that fits a packing. @throws what the writer of the packing throws */
export function writePacking(w: GroupedWeight, to: Packing, thing: string): Readonly<Record<string, HostTensor>> {
  switch (to) {
    case 'gptq':
    case 'gptq_v2': return writeGptq(w, to, thing)
    case 'awq': return writeAwq(w, thing)
    case 'compressed-tensors': return writeCompressed(w, w.scales.every((s) => decodeFloat16(encodeFloat16(s)) === s) ? 'float16' : 'float32', thing).tensors
    case 'mlx': return writeMlx(w, thing)
    case 'bitnet': return writeBitnet(w, 'autobitlinear', thing)
    case 'nf4':
    case 'nf4-nested': return writeBitsandbytes({ dtype: 'float32', shape: w.shape, data: groupedValues(w) }, { type: 'nf4', nested: to === 'nf4-nested' })
  }
}

/** The weight that readers of a packing will see. */
export function readPacking(tensors: Readonly<Record<string, HostTensor>>, to: Packing, { bits, group, shape }: Pick<GroupedWeight, 'bits' | 'group' | 'shape'>, thing: string): GroupedWeight {
  const groupSize = group >= shape[1] ? -1 : group
  switch (to) {
    case 'gptq':
    case 'gptq_v2':
      if (bits !== 2 && bits !== 3 && bits !== 4 && bits !== 8) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing, found: `${bits} bits`, expected: '2, 3, 4 or 8' })
      return readGptq(tensors, { bits, groupSize, format: to }, thing)
    case 'awq': return readAwq(tensors, groupSize, thing)
    case 'compressed-tensors': return readCompressed(tensors, { bits, symmetric: tensors['weight_zero_point'] === undefined }, thing)
    case 'mlx': return readMlx(tensors, { bits, groupSize: group }, thing)
    case 'bitnet': return readBitnet(tensors, 'autobitlinear', thing)
    case 'nf4':
    case 'nf4-nested': return readBitsandbytes(tensors, thing)
  }
}

