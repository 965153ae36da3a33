import { expect } from 'vitest'
import { fromFloat16, matMulNBits, nbitsArithmetic, packNibbles, quantizeBlock, quantizeGatherBlock, unpackBits, type BlockCodes, type CodeType, type QTensor } from '@lowbit/core'
import { ortNBits } from '../../src/layouts/ort-nbits.js'
import { difference, exactly, goldenNumbers, inputFloats, inputTensor, runGoldens, type GoldenCase, type GoldenSet, type GoldenTensor, type Tolerance } from '../../../../tools/goldens.js'

const number = (golden: GoldenCase, name: string): number => Number(golden.params[name])

/** `[K, N]` → `[N, K]`. */
function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)] ?? NaN)
}

/** Blocks along the rows of a `[N, K]` matrix, put together again. */
function quantizeRows(w: Float32Array, columns: number, blockSize: number, quantize: (block: Float32Array) => BlockCodes) {
  const scales: number[] = []
  const zeroPoints: number[] = []
  const codes: number[] = []
  for (let n = 0; n < w.length / columns; n++) {
    for (let k = 0; k < columns; k += blockSize) {
      const block = quantize(w.subarray(n * columns + k, n * columns + Math.min(k + blockSize, columns)))
      scales.push(block.scale)
      zeroPoints.push(block.zeroPoint)
      codes.push(...block.codes)
    }
  }
  return { scales, zeroPoints, codes }
}

function weights(golden: GoldenCase, set: GoldenSet) {
  const [K, N, bits, blockSize] = [number(golden, 'K'), number(golden, 'N'), number(golden, 'bits'), number(golden, 'blockSize')]
  const symmetric = golden.params['symmetric'] === true
  const input = inputTensor(set, golden, 'w')
  const half = input.dtype === 'float16'
  const w = transpose(half ? fromFloat16(input.data as Uint16Array) : inputFloats(set, golden, 'w'), K, N)
  const { scales, zeroPoints, codes } = quantizeRows(w, K, blockSize, (block) => quantizeBlock(block, bits, symmetric, half ? 'float16' : 'float32'))
  const q: QTensor = {
    scheme: { dtype: `uint${bits}` as CodeType, granularity: { kind: 'group', axis: 1, size: blockSize }, symmetric },
    shape: [N, K],
    codes: Uint8Array.from(codes),
    params: { scales: Float32Array.from(scales), shape: [N, Math.ceil(K / blockSize)], ...(symmetric ? {} : { zeroPoints: Int32Array.from(zeroPoints) }) },
  }
  const packed = ortNBits.pack(q)
  const { zeroPoints: packedZeroPoints } = packed.buffers
  return {
    codes,
    scales: exactly(scales),
    ...(packedZeroPoints === undefined ? {} : { zeroPoints: packedZeroPoints }),
    B: (want: GoldenTensor) => {
      expect(packed.buffers['codes']?.length).toBe(want.data.length)
      // What stands in padding is free: compare what unpacking gives.
      expect(ortNBits.unpack({ ...packed, buffers: { ...packed.buffers, codes: want.data as Uint8Array } }).codes).toEqual(q.codes)
      if (K % blockSize === 0) exactly(packed.buffers['codes'] ?? [])(want)
    },
  }
}

/** Weights of another case of the set, with zero points as numbers. */
function storedWeight(golden: GoldenCase, set: GoldenSet) {
  const source = set.cases.find(({ id }) => id === golden.params['weights'])
  if (source === undefined) throw new Error(`no case ${String(golden.params['weights'])}`)
  const [rows, columns, bits, blockSize] = [number(source, 'N'), number(source, 'K'), number(source, 'bits'), number(source, 'blockSize')]
  const output = (role: string) => set.tensor(source.outputs[role] ?? '')
  const zeroPoints = source.outputs['zeroPoints'] === undefined ? {} : { zeroPoints: packedZeroPoints(output('zeroPoints'), rows, Math.ceil(columns / blockSize), bits) }
  return { rows, columns, bits, blockSize, codes: goldenNumbers(output('codes')), scales: goldenNumbers(output('scales')), ...zeroPoints }
}

function packedZeroPoints(tensor: GoldenTensor, rows: number, blocks: number, bits: number): number[] {
  const bytes = Uint8Array.from(goldenNumbers(tensor))
  const row = bytes.length / rows
  return Array.from({ length: rows }, (_, n) => [...unpackBits(bytes.subarray(n * row, (n + 1) * row), bits as 2 | 4 | 8, blocks)]).flat()
}

function matmul(golden: GoldenCase, set: GoldenSet) {
  const weight = storedWeight(golden, set)
  const a = inputFloats(set, golden, 'A').subarray(0, number(golden, 'M') * weight.columns)
  const level = number(golden, 'accuracyLevel')
  expect(nbitsArithmetic(weight.bits, weight.blockSize, level)).toBe(golden.params['arithmetic'] === 'f32' ? 'float32' : 'int8')
  const tolerance = golden.tolerance['yAgainstExactWeights'] as Exclude<Tolerance, string>
  const want = goldenNumbers(set.tensor(golden.outputs['y'] ?? ''))
  expect(difference(matMulNBits(a, weight), want, tolerance), 'against exact weights').toBeUndefined()
  return { y: matMulNBits(a, weight, level) }
}

function qdq(golden: GoldenCase, set: GoldenSet) {
  const [K, N, blockSize] = [number(golden, 'K'), number(golden, 'N'), number(golden, 'blockSize')]
  const symmetric = golden.params['symmetric'] === true
  const { scales, zeroPoints, codes } = quantizeRows(transpose(inputFloats(set, golden, 'w'), K, N), K, blockSize, (block) => quantizeBlock(block, 4, symmetric))
  const back = (values: readonly number[], rows: number): number[] => Array.from(values, (_, i) => values[(i % N) * rows + Math.floor(i / N)] ?? NaN)
  const stored = back(codes, K).map((code) => code - (symmetric ? 8 : 0))
  const blocks = Math.ceil(K / blockSize)
  return { codes: stored, packed: packNibbles(stored), scales: back(scales, blocks), zeroPoints: packNibbles(back(zeroPoints, blocks)) }
}

/** Rows of a table that is `[rows, columns]`; negative indices count from the end. */
function gatherRows(table: ArrayLike<number>, columns: number, indices: ArrayLike<number>): number[] {
  const rows = table.length / columns
  return Array.from(indices, (row) => Array.from({ length: columns }, (_, k) => table[((row + rows) % rows) * columns + k] ?? NaN)).flat()
}

function gather(golden: GoldenCase, set: GoldenSet) {
  const [rows = 0, columns = 0] = golden.params['shape'] as number[]
  const symmetric = golden.params['symmetric'] === true
  const alongRows = number(golden, 'quantizeAxis') === 0
  const w = inputFloats(set, golden, 'w')
  const lines = alongRows ? transpose(w, rows, columns) : w
  const length = alongRows ? rows : columns
  const blockSize = number(golden, 'blockSize')
  const q = quantizeRows(lines, length, blockSize, (block) => quantizeGatherBlock(block, 4, symmetric))
  const back = (values: readonly number[]): number[] => (alongRows ? Array.from(transpose(Float32Array.from(values), columns, values.length / columns)) : [...values])
  const offset = symmetric ? 8 : 0
  const blocks = Math.ceil(length / blockSize)
  const real = q.codes.map((code, i) => {
    const granule = Math.floor(i / length) * blocks + Math.floor((i % length) / blockSize)
    return Math.fround((code - (q.zeroPoints[granule] ?? 0)) * (q.scales[granule] ?? 0))
  })
  return {
    packed: packNibbles(back(q.codes).map((code) => code - offset)),
    scales: back(q.scales),
    zeroPoints: packNibbles(back(q.zeroPoints)),
    y: gatherRows(back(real), columns, goldenNumbers(inputTensor(set, golden, 'indices'))),
  }
}

function gatherBytes(golden: GoldenCase, set: GoldenSet) {
  const [rows = 0, columns = 0] = golden.params['shape'] as number[]
  const bits = number(golden, 'bits') as 2 | 4 | 8
  const blocks = Math.ceil(columns / number(golden, 'blockSize'))
  const codes = unpackBits(inputTensor(set, golden, 'data').data as Uint8Array, bits, rows * columns)
  const scales = inputFloats(set, golden, 'scales')
  const zeroPoints = golden.inputs['zeroPoints'] === undefined ? undefined : packedZeroPoints(inputTensor(set, golden, 'zeroPoints'), rows, blocks, bits)
  const real = Float32Array.from(codes, (code, i) => {
    const granule = Math.floor(i / columns) * blocks + Math.floor((i % columns) / number(golden, 'blockSize'))
    return (code - (zeroPoints?.[granule] ?? 2 ** (bits - 1))) * (scales[granule] ?? 0)
  })
  return { y: gatherRows(real, columns, goldenNumbers(inputTensor(set, golden, 'indices'))) }
}

/** What float zero points mean; how HQQ finds them is tested with the algorithm. */
function hqq(golden: GoldenCase, set: GoldenSet) {
  const [K, N, bits, blockSize] = [number(golden, 'K'), number(golden, 'N'), number(golden, 'bits'), number(golden, 'blockSize')]
  const output = (role: string) => goldenNumbers(set.tensor(golden.outputs[role] ?? ''))
  const weight = { rows: N, columns: K, bits, blockSize, codes: output('codes'), scales: output('scales'), zeroPoints: output('zeroPoints') }
  const w = transpose(inputFloats(set, golden, 'w'), K, N)
  const blocks = Math.ceil(K / blockSize)
  const roundWith = (): void => weight.codes.forEach((code, i) => {
    const granule = Math.floor(i / K) * blocks + Math.floor((i % K) / blockSize)
    const exact = (w[i] ?? 0) / (weight.scales[granule] ?? 1) + (weight.zeroPoints[granule] ?? 0)
    expect(Math.abs(Math.min(Math.max(exact, 0), 2 ** bits - 1) - code), `code ${i}`).toBeLessThanOrEqual(0.5 + 1e-4)
  })
  const y = golden.outputs['y'] === undefined ? {} : { y: matMulNBits(inputFloats(set, golden, 'A'), weight) }
  return { codes: roundWith, scales: weight.scales, zeroPoints: () => expect(weight.zeroPoints.length).toBe(N * blocks), ...y }
}

runGoldens('nbits', { weights, matmul, 'qdq-int4': qdq, gather, 'gather-uint8': gatherBytes, hqq })
