import { roundToFloat16, type QTensor, type Scheme } from '@lowbit/core'
import type { BlockTensor } from './block-tensor.js'
import type { BlockType } from './blocks/block-type.js'
import { quantizeBlocks } from './quantize-blocks.js'
import { readBlocks } from './read-blocks.js'
import { BLOCK_TYPES } from './types.js'
import { writeBlocks } from './write-blocks.js'

/** K-quants that codes of a scheme can be found on: their levels have a code type. */
export type TwoLevelType = 'Q2_K' | 'Q3_K' | 'Q4_K'

const { Q2_K, Q3_K, Q4_K } = BLOCK_TYPES

/** Groups along K with any scale and, where the type has minima, any zero point: narrower only by the two levels. */
const SCHEMES: readonly { readonly name: TwoLevelType; readonly type: BlockType; readonly scheme: Scheme }[] = [
  { name: 'Q2_K', type: Q2_K, scheme: { dtype: 'uint2', granularity: { kind: 'group', axis: 1, size: 16 }, symmetric: false, zeroPoint: 'float' } },
  { name: 'Q3_K', type: Q3_K, scheme: { dtype: 'int3', granularity: { kind: 'group', axis: 1, size: 16 }, symmetric: true } },
  { name: 'Q4_K', type: Q4_K, scheme: { dtype: 'uint4', granularity: { kind: 'group', axis: 1, size: 32 }, symmetric: false, zeroPoint: 'float' } },
]

/** The scheme whose codes a K-quant holds, once their scales lie on its two levels. */
export function twoLevelScheme(name: TwoLevelType): Scheme {
  return (SCHEMES.find((s) => s.name === name) ?? SCHEMES[2]).scheme
}

/** The K-quant that a scheme is the scheme of. */
export function twoLevelTypeOf({ dtype, granularity, symmetric, zeroPoint }: Scheme): TwoLevelType | undefined {
  return SCHEMES.find(({ scheme }) => scheme.dtype === dtype && scheme.symmetric === symmetric && scheme.zeroPoint === zeroPoint && granularity.kind === 'group' && granularity.axis === 1 && scheme.granularity.kind === 'group' && granularity.size === scheme.granularity.size)?.name
}

const typeOf = (name: TwoLevelType): BlockType => BLOCK_TYPES[name]

/** Values as codes of a K-quant, found by our own search, in the words of {@link twoLevelScheme}. @param x `[rows, K]`, K a multiple of 256 */
export function onTwoLevels(name: TwoLevelType, x: Float32Array, shape: readonly [number, number], thing?: string): QTensor {
  return fromBlocks(readBlocks(typeOf(name), shape, quantizeBlocks(name, x, thing)), name, shape)
}

function fromBlocks({ codes, scales, minima, twoLevel }: BlockTensor, name: TwoLevelType, shape: readonly [number, number]): QTensor {
  const { group } = typeOf(name)
  const grid = [shape[0], shape[1] / group]
  if (minima === undefined) return { scheme: twoLevelScheme(name), shape, codes, params: { scales, shape: grid } }
  const own = scales.slice()
  const zeroPoints = new Float32Array(scales.length)
  const out = Uint8Array.from(codes)
  const perBlock = 256 / group
  for (let g = 0; g < scales.length; g++) {
    if (scales[g] === 0) {
      // A group without a step of its own keeps its minimum by the smallest step there is.
      own[g] = twoLevel?.d[Math.floor(g / perBlock)] ?? 0
      if (own[g] !== 0) out.fill(0, g * group, (g + 1) * group)
    }
    zeroPoints[g] = own[g] === 0 ? 0 : -minima[g] / own[g]
  }
  return { scheme: twoLevelScheme(name), shape, codes: out, params: { scales: own, zeroPoints, shape: grid } }
}

/** How far float32 leaves a scale from the product that it was. */
const NEAR = 2 ** -19

/**
 * Codes whose scales (and minima `zero point · scale`) lie on the two levels of a K-quant, as its blocks: the two levels are found
 * again from their products. Undefined where they do not lie there.
 */
export function carryTwoLevel(q: QTensor): { readonly type: TwoLevelType; readonly tensor: BlockTensor; readonly bytes: Uint8Array<ArrayBuffer> } | undefined {
  const name = twoLevelTypeOf(q.scheme)
  const [rows = 0, columns = 0] = q.shape
  if (name === undefined || columns % 256 !== 0) return undefined
  const type = typeOf(name)
  const { sub: [lowest, highest], subMin: [, deepest] } = type.twoLevel ?? { sub: [0, 0], subMin: [0, 0] }
  const perBlock = type.block / type.group
  const blocks = (rows * columns) / type.block
  const { scales, zeroPoints } = q.params
  const d = new Float32Array(blocks)
  const subScales = new Int8Array(blocks * perBlock)
  const dmin = new Float32Array(blocks)
  const subMinima = new Uint8Array(blocks * perBlock)
  const minima = new Float32Array(blocks * perBlock)
  const products = new Float64Array(perBlock)
  for (let b = 0; b < blocks; b++) {
    const first = b * perBlock
    for (let g = 0; g < perBlock; g++) products[g] = scales[first + g]
    const steps = levelsOf(products, lowest, highest)
    if (steps === undefined) return undefined
    d[b] = steps.unit
    subScales.set(steps.levels, first)
    if (!type.minima) continue
    for (let g = 0; g < perBlock; g++) products[g] = (zeroPoints?.[first + g] ?? 0) * scales[first + g]
    const offsets = levelsOf(products, 0, deepest)
    if (offsets === undefined) return undefined
    dmin[b] = offsets.unit
    subMinima.set(offsets.levels, first)
    for (let g = 0; g < perBlock; g++) minima[first + g] = -Math.fround(offsets.unit * offsets.levels[g])
  }
  const tensor: BlockTensor = {
    type: name, shape: q.shape, group: type.group, codes: Int8Array.from(q.codes), scales: scales.map((_, g) => d[Math.floor(g / perBlock)] * subScales[g]),
    ...(type.minima ? { minima } : {}),
    twoLevel: { block: type.block, d, subScales, ...(type.minima ? { dmin, subMinima } : {}) },
  }
  return { type: name, tensor, bytes: writeBlocks(tensor) }
}

/** A float16 unit and whole multiples of it, between two limits, whose products are these numbers. */
function levelsOf(products: Float64Array, lowest: number, highest: number): { readonly unit: number; readonly levels: number[] } | undefined {
  let extreme = 0
  for (const p of products) if (Math.abs(p) > Math.abs(extreme)) extreme = p
  if (extreme === 0) return { unit: 0, levels: [...products].map(() => 0) }
  for (let top = Math.max(highest, -lowest); top >= 1; top--) {
    for (const level of [top, -top]) {
      if (level < lowest || level > highest) continue
      const unit = roundToFloat16(extreme / level)
      if (unit === 0 || !Number.isFinite(unit)) continue
      const levels = [...products].map((p) => Math.round(p / unit))
      if (levels.every((l, g) => l >= lowest && l <= highest && Math.abs(l * unit - products[g]) <= NEAR * Math.abs(extreme))) return { unit, levels }
    }
  }
  return undefined
}
