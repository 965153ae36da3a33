import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeScheme, dequantize, fromFloat16, int4, int8, type HostTensor, type Scheme, uint4, uint8, weightScheme } from '@lowbit/core'
import { readOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { createSession, openOnnx } from '../src/index.js'
import { convolutions, halves, matrices, type SmallModel, tied } from './support/models.js'
import { randomCodes } from './support/random.js'
import { NATIVE, RUNTIMES } from './support/runtimes.js'

const SCHEMES: readonly Scheme[] = [
  int8(), int8({ perTensor: true }), uint8(), uint8({ perTensor: true }), int8({ group: 16 }), uint8({ group: 32 }),
  int4(), uint4(), int4({ group: 16 }), uint4({ group: 32 }), int4({ group: 20 }), int4({ perTensor: true }),
  weightScheme('int3', { group: 32 }), weightScheme('uint3', { group: 16, symmetric: true }), weightScheme('int2', { group: 16 }), weightScheme('uint2', { group: 32, symmetric: false }),
  weightScheme('ternary', { perTensor: true }), weightScheme('int16'),
  { ...uint4({ group: 32 }), zeroPoint: 'float' }, { ...uint8({ group: 16 }), zeroPoint: 'float' }, { ...uint4(), zeroPoint: 'float' },
]

/** Old opsets know few of the types: those go to the runtime's own operator. 21 has blocks. */
const MODELS: readonly SmallModel[] = [matrices(9, 3), matrices(13), matrices(21, 10), convolutions(9), convolutions(13), convolutions(21), tied(9), tied(13, 64), tied(21), halves()]

const numbers = ({ dtype, data }: HostTensor): Float32Array => (dtype === 'float16' ? fromFloat16(data as Uint16Array) : Float32Array.from(data as Float32Array))

/** Largest difference, relative to the largest value. */
function difference(a: HostTensor, b: HostTensor): number {
  const [x, y] = [numbers(a), numbers(b)]
  expect(x.length).toBe(y.length)
  const largest = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
  return x.reduce((m, v, i) => Math.max(m, Math.abs(v - (y[i] ?? NaN))), 0) / largest
}

async function emitted(small: SmallModel, format: string, scheme: Scheme, settings: Record<string, string> = {}): Promise<{ readonly bytes: Uint8Array<ArrayBuffer>; readonly expected: HostTensor; readonly count: number }> {
  const host = await openOnnx(small.bytes, NATIVE)
  let seed = 100
  for (const site of host.sites()) {
    if (site.tiedTo !== undefined) continue
    const answer = host.accepts(site.id, scheme, format)
    const wanted = answer.ok ? scheme : answer.instead
    if (wanted !== undefined) host.assign(site.id, randomCodes(wanted, [site.weight.rows, site.weight.columns], seed++))
  }
  const bytes = (await host.emit(format, { settings })).bytes()
  const { y } = await host.run(small.batch)
  await host.dispose()
  if (y === undefined) throw new Error('no output')
  return { bytes, expected: y, count: seed - 100 }
}

describe.each(MODELS.map((m) => [m.name, m] as const))('%s', (_, small) => {
  describe.each(['matmul-nbits', 'dequantize'])('%s', (format) => {
    it.each(SCHEMES.map((s) => [`${describeScheme(s)}${s.zeroPoint === 'float' ? ' float zero point' : ''}`, s] as const))('%s computes what the codes stand for', async (_name, scheme) => {
      const { bytes, expected, count } = await emitted(small, format, scheme)
      expect(count).toBeGreaterThan(1)
      for (const { name, ort, options } of RUNTIMES) {
        const session = await createSession(ort, bytes, options)
        const { y } = await session.run(small.batch)
        await session.release()
        if (y === undefined) throw new Error('no output')
        // float16 models round every intermediate result to 11 bits.
        expect(difference(expected, y), name).toBeLessThan(small.name.startsWith('halves') ? 1e-2 : 2e-5)
      }
    })
  })

  it.each(SCHEMES.filter((_s, i) => i % 2 === 0).map((s) => [`${describeScheme(s)}${s.zeroPoint === 'float' ? ' float zero point' : ''}`, s] as const))('dequantize, expanded at load, %s computes what the codes stand for', async (_name, scheme) => {
    const { bytes, expected } = await emitted(small, 'dequantize', scheme, { expand: 'load' })
    for (const { name, ort, options } of RUNTIMES) {
      const session = await createSession(ort, bytes, options)
      const { y } = await session.run(small.batch)
      await session.release()
      if (y === undefined) throw new Error('no output')
      expect(difference(expected, y), name).toBeLessThan(small.name.startsWith('halves') ? 1e-2 : 2e-5)
    }
  })

  it.each([int8(), uint8(), int8({ perTensor: true }), uint8({ perTensor: true }), int4()].map((s) => [describeScheme(s), s] as const))('dynamic %s is within what rounding activations costs', async (_name, scheme) => {
    const { bytes, expected } = await emitted(small, 'dynamic', scheme)
    const outputs: HostTensor[] = []
    for (const { name, ort, options } of RUNTIMES) {
      const session = await createSession(ort, bytes, options)
      const { y } = await session.run(small.batch)
      await session.release()
      if (y === undefined) throw new Error('no output')
      outputs.push(y)
      expect(difference(expected, y), name).toBeLessThan(0.06)
    }
    const [first, second] = outputs
    // Integer kernels are exact; only a value on a rounding tie may go another way.
    if (first !== undefined && second !== undefined) expect(difference(first, second)).toBeLessThan(small.name.startsWith('halves') ? 2e-2 : 1e-2)
  })
})

describe('the weight a site shows', () => {
  it('is the matrix whose codes are written', async () => {
    const host = await openOnnx(convolutions().bytes, NATIVE)
    for (const site of host.sites()) {
      const q = randomCodes(int8(), [site.weight.rows, site.weight.columns], 5)
      await host.writeWeight(site.id, dequantize(q))
      expect((await host.readWeight(site.id)).data).toEqual(dequantize(q).data)
    }
    await host.dispose()
  })
})

describe('a table that the output layer reads too', () => {
  it.each([int4({ group: 16 }), uint4({ group: 32 }), uint8({ group: 32 })].map((s) => [describeScheme(s), s] as const))('%s is stored once', async (_, scheme) => {
    const { bytes } = await emitted(tied(13, 64), 'matmul-nbits', scheme)
    const stored = readOnnx(bytes).graph?.initializer.filter((t) => /^(table|head)/.test(t.name) && t.rawData.length >= 20 * 32) ?? []
    expect(stored.map((t) => t.name)).toHaveLength(1)
  })
})

describe('weights expanded at load', () => {
  it.each([int8(), int4(), uint4({ group: 16 }), uint8({ group: 16 })].map((s) => [describeScheme(s), s] as const))('%s: the optimizer leaves nothing of them to run', async (_, scheme) => {
    const folder = await mkdtemp(join(tmpdir(), 'lowbit-expand-'))
    try {
      const { bytes } = await emitted(convolutions(), 'dequantize', scheme, { expand: 'load' })
      const optimizedModelFilePath = join(folder, 'optimized.onnx')
      const [native] = RUNTIMES
      const session = await createSession(native.ort, bytes, { optimizedModelFilePath, graphOptimizationLevel: 'extended' })
      await session.release()
      const ops = readOnnx(new Uint8Array(await readFile(optimizedModelFilePath))).graph?.node.map((n) => n.opType) ?? []
      expect(ops.filter((op) => ['Cast', 'GatherBlockQuantized', 'DequantizeLinear', 'Transpose', 'Slice'].includes(op))).toEqual([])
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
