import { describe, expect, it } from 'vitest'
import { compareWeights, groupedToQTensor, groupedValues, readAwq, readCompressed, readGptq, readMlx, writeAwq, writeCompressed, writeGptq, writeMlx, type GroupedWeight } from '../src/checkpoints/index.js'
import { BLOCK_TYPES, blocksToGrouped, carryExact, dequantizeBlocks, quantizeBlocks, readBlocks, type BlockType, type WrittenType } from '../src/gguf/index.js'

const x = Float32Array.from({ length: 32 * 256 }, (_, i) => Math.sin(i * 12.9898) * 0.05)

function fromGguf(name: WrittenType): GroupedWeight {
  const type: BlockType = Object.values<BlockType>(BLOCK_TYPES).find((t) => t.name === name) as BlockType
  return blocksToGrouped(readBlocks(type, [32, 256], quantizeBlocks(name, x)))
}

describe('repacking', () => {
  it.each(['Q4_0', 'Q4_1', 'Q5_0', 'Q8_0', 'Q2_K', 'Q3_K', 'Q4_K', 'Q5_K', 'Q6_K', 'TQ2_0'] as const)('%s means the same as a grouped weight', (name) => {
    const type: BlockType = BLOCK_TYPES[name]
    expect(Array.from(groupedValues(fromGguf(name)), (v) => v + 0)).toEqual(Array.from(dequantizeBlocks(type, quantizeBlocks(name, x)), (v) => v + 0))
  })

  it('takes Q4_0 through GPTQ, AWQ, compressed-tensors and MLX, and back to GGUF, exactly', () => {
    const w = fromGguf('Q4_0')
    const ways: GroupedWeight[] = [
      readGptq(writeGptq(w, 'gptq'), { bits: 4, groupSize: 32, format: 'gptq' }),
      readAwq(writeAwq(w), 32),
      readCompressed(writeCompressed(w).tensors, { bits: 4, symmetric: true }),
    ]
    for (const after of ways) {
      expect(compareWeights(w, after)).toMatchObject({ exact: true, largest: 0, rms: 0 })
      const packed = carryExact(groupedToQTensor(after))
      if (!('type' in packed)) throw new Error(JSON.stringify(packed.refused))
      expect(packed.type).toBe('Q4_0')
      expect(packed.bytes).toEqual(quantizeBlocks('Q4_0', x))
    }
    const mlx = compareWeights(w, readMlx(writeMlx(w), { bits: 4, groupSize: 32 }))
    // MLX adds after it multiplies: two roundings of float32.
    expect(mlx.largest).toBeLessThan(1e-7)
  })

  it('takes asymmetric codes with any zero point into Q5_0', () => {
    const w: GroupedWeight = { shape: [8, 64], bits: 4, group: 32, codes: Uint8Array.from({ length: 512 }, (_, i) => (i * 7) & 15), scales: new Float32Array(16).fill(0.25), zeroPoints: Int32Array.from({ length: 16 }, (_, i) => i) }
    const packed = carryExact(groupedToQTensor(w))
    if (!('type' in packed)) throw new Error(JSON.stringify(packed.refused))
    expect(compareWeights(w, dequantizeBlocks(BLOCK_TYPES[packed.type], packed.bytes)).exact).toBe(true)
  })

  it('says what changed and where', () => {
    const w = fromGguf('Q4_0')
    const after = groupedValues(w)
    after[3 * 256 + 17] = (after[3 * 256 + 17] ?? 0) + 1
    expect(compareWeights(w, after)).toMatchObject({ exact: false, row: 3, column: 17 })
    expect(compareWeights(w, after).largest).toBeCloseTo(1, 6)
    expect(() => compareWeights(w, new Float32Array(3))).toThrow('LOWBIT_SHAPE')
  })
})
