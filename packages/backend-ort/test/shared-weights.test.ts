import { gptq } from '@lowbit/algos-gptq'
import { type Batch, bestOf, int4, quantize, type QuantizeOptions, type Report } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, writeOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { compareModels, openOnnx } from '../src/index.js'
import { random, randomFloats, randomTensor } from './support/random.js'

const K = 64

/** Activations of a low rank with a little noise: what GPTQ makes much of. */
function lowRank(rows: number, seed: number, rank = 8): Batch[string] {
  const [left, right, noise] = [randomFloats(rows * rank, seed), randomFloats(rank * K, seed + 1), randomFloats(rows * K, seed + 2, 0.05)]
  const data = noise.map((v, i) => {
    for (let r = 0; r < rank; r++) v += left[Math.floor(i / K) * rank + r] * right[r * K + (i % K)]
    return v
  })
  return { dtype: 'float32', shape: [rows, K], data }
}

async function measure(bytes: Uint8Array<ArrayBuffer>, batches: readonly Batch[], options: Partial<QuantizeOptions>): Promise<{ readonly report: Report; readonly sqnr: readonly number[] }> {
  const [float, host] = [await openOnnx(bytes), await openOnnx(bytes)]
  const { artifact, report } = await quantize(host, { format: 'matmul-nbits', weights: int4({ group: 32 }), calibration: batches, ...options })
  const small = await openOnnx(artifact.bytes())
  const { outputs } = await compareModels(float, small, batches, { latency: false, saturation: false })
  for (const h of [float, host, small]) await h.dispose()
  return { report, sqnr: outputs.map((o) => o.sqnr) }
}

describe('a weight with two readers', () => {
  const main = graph({
    nodes: [node('MatMul', ['x', 'w'], ['y1'], {}, '', 'first'), node('MatMul', ['z', 'w'], ['y2'], {}, '', 'second')],
    inputs: [valueInfo('x', 'float32', ['n', K]), valueInfo('z', 'float32', ['n', K])],
    outputs: [valueInfo('y1', 'float32', ['n', K]), valueInfo('y2', 'float32', ['n', K])],
    initializers: [hostToTensor('w', randomTensor([K, K], 5, 0.1))],
  })
  const bytes = writeOnnx(model(main, { '': 17 }, 8))
  // One subspace a reader, the same in all batches.
  const batches = [0, 1, 2, 3].map((i): Batch => ({ x: rowsOf(lowRank(256, 100), i), z: rowsOf(lowRank(256, 200), i) }))

  it.each([
    ['GPTQ', gptq()],
    ['the best of rows', bestOf([gptq()])],
  ])('is rounded by %s for both, and the report says what each output suffers', async (_, rounding) => {
    const plain = await measure(bytes, batches, {})
    const { report, sqnr } = await measure(bytes, batches, { rounding })
    for (const [i, db] of sqnr.entries()) {
      expect(db).toBeGreaterThan(plain.sqnr[i] + 3)
      // Predicted from each reader's own Gram matrix.
      expect(Math.abs((report.sites[i].outputSqnr ?? NaN) - db)).toBeLessThan(0.5)
    }
  })

  it('gets each reader’s own shift back', async () => {
    const moved = batches.map(({ x, z }): Batch => ({ x: shifted(x, 0.5), z: shifted(z, -0.8) }))
    const without = await measure(bytes, moved, {})
    const { sqnr } = await measure(bytes, moved, { biasCorrection: true })
    for (const [i, db] of sqnr.entries()) expect(db).toBeGreaterThan(without.sqnr[i] + 1)
  })
})

describe('a table that is looked up and is the output layer too', () => {
  const V = 96
  const bytes = (tied: boolean): Uint8Array<ArrayBuffer> => {
    const table = randomTensor([V, K], 7)
    const main = graph({
      nodes: [
        node('Gather', ['E', 'i'], ['e'], {}, '', 'emb'),
        node('MatMul', ['e', 'w1'], ['f'], {}, '', 'mid'),
        node('Tanh', ['f'], ['g']),
        node('MatMul', ['g', 'w2'], ['k'], {}, '', 'mid2'),
        node('Transpose', [tied ? 'E' : 'E2'], ['Et'], { perm: [1, 0] }),
        node('MatMul', ['k', 'Et'], ['y'], {}, '', 'head'),
      ],
      inputs: [valueInfo('i', 'int64', [1, 64])],
      outputs: [valueInfo('y', 'float32', [1, 64, V])],
      initializers: [hostToTensor('E', table), hostToTensor('w1', randomTensor([K, 16], 9, 0.2)), hostToTensor('w2', randomTensor([16, K], 10, 0.3)), ...(tied ? [] : [hostToTensor('E2', table)])],
    })
    return writeOnnx(model(main, { '': 17 }, 8))
  }
  const next = random(8)
  const batches = Array.from({ length: 16 }, (): Batch => ({ i: { dtype: 'int64', shape: [1, 64], data: BigInt64Array.from({ length: 64 }, () => BigInt(Math.floor(next() * V))) } }))

  it('is rounded for what the output layer sees, and for its lookups', async () => {
    const [plain, tied, untied] = [await measure(bytes(true), batches, {}), await measure(bytes(true), batches, { rounding: gptq() }), await measure(bytes(false), batches, { rounding: gptq() })]
    expect(tied.sqnr[0]).toBeGreaterThan(plain.sqnr[0] + 1.5)
    expect(tied.sqnr[0]).toBeGreaterThan(untied.sqnr[0] - 1)
    const head = tied.report.sites.find((s) => s.id === 'head')
    expect(head).toMatchObject({ op: 'MatMul', kind: 'linear', status: 'quantized' })
    expect(head?.outputSqnr).toBeGreaterThan(25)
  })
})

function rowsOf(all: Batch[string], part: number): Batch[string] {
  const data = all.data as Float32Array<ArrayBuffer>
  const rows = all.shape[0] / 4
  return { dtype: 'float32', shape: [rows, K], data: data.slice(part * rows * K, (part + 1) * rows * K) }
}

function shifted({ shape, data }: Batch[string], by: number): Batch[string] {
  return { dtype: 'float32', shape, data: Float32Array.from(data as Float32Array, (v) => v + by) }
}
