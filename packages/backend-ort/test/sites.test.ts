import { type HostTensor, int8, LowbitError, quantize } from '@lowbit/core'
import { graph, hostToTensor, model, node, type NodeProto, type TensorProto, valueInfo, writeOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../src/index.js'
import { matrices, tied } from './support/models.js'
import { randomTensor } from './support/random.js'

const weight = (name: string, shape: readonly number[], seed: number): TensorProto => hostToTensor(name, randomTensor(shape, seed))

interface Parts {
  readonly nodes: readonly NodeProto[]
  readonly initializers?: readonly TensorProto[]
  readonly input?: readonly (number | string)[]
  readonly opset?: number
}

/** A model from x to y. */
function build({ nodes, initializers = [], input = ['n', 8], opset = 17 }: Parts): Uint8Array<ArrayBuffer> {
  return writeOnnx(model(graph({ nodes, initializers, inputs: [valueInfo('x', 'float32', input)], outputs: [valueInfo('y', 'float32')] }), { '': opset, 'com.microsoft': 1 }, 8))
}

function floats(t: HostTensor | undefined): Float32Array {
  if (t?.data instanceof Float32Array) return t.data
  throw new LowbitError('LOWBIT_INTERNAL', { thing: 'test', found: 'no float output' })
}

/** Output of a convolution by its definition, with the weight as the site shows it: `[N, K]`. */
function convolve(x: HostTensor<'float32'>, w: HostTensor<'float32'>, groups: number, kernel: number): number[] {
  const [, channels = 0, height = 0, width = 0] = x.shape
  const [rows = 0, columns = 0] = w.shape
  const out: number[] = []
  const perGroup = channels / groups
  for (let n = 0; n < rows; n++) {
    const group = Math.floor(n / (rows / groups))
    for (let i = 0; i + kernel <= height; i++) {
      for (let j = 0; j + kernel <= width; j++) {
        let sum = 0
        for (let k = 0; k < columns; k++) {
          const [c, r] = [Math.floor(k / kernel ** 2), k % kernel ** 2]
          sum += w.data[n * columns + k] * x.data[((group * perGroup + c) * height + i + Math.floor(r / kernel)) * width + j + (r % kernel)]
        }
        out.push(sum)
      }
    }
  }
  return out
}

describe('weights as [N, K]', () => {
  it.each([['Gemm', { transB: 1 }, [5, 8]], ['Gemm', {}, [8, 5]], ['MatMul', {}, [8, 5]]] as const)('%s %o: y = x · Wᵀ', async (op, attributes, shape) => {
    const host = await openOnnx(build({ nodes: [node(op, ['x', 'w'], ['y'], attributes)], initializers: [weight('w', shape, 1)] }))
    const x = randomTensor([3, 8], 2)
    const [site] = host.sites()
    const w = await host.readWeight(site?.id ?? '')
    expect(w.shape).toEqual([5, 8])
    const y = floats((await host.run({ x })).y)
    for (let m = 0; m < 3; m++) {
      for (let n = 0; n < 5; n++) {
        let sum = 0
        for (let k = 0; k < 8; k++) sum += x.data[m * 8 + k] * w.data[n * 8 + k]
        expect(y[m * 5 + n]).toBeCloseTo(sum, 5)
      }
    }
    await host.dispose()
  })

  it.each([1, 2])('Conv in %i groups: rows are output channels, columns channel by channel', async (groups) => {
    const host = await openOnnx(build({ nodes: [node('Conv', ['x', 'w'], ['y'], { group: groups })], initializers: [weight('w', [4, 4 / groups, 2, 2], 3)], input: [1, 4, 4, 5] }))
    const x = randomTensor([1, 4, 4, 5], 4)
    const [site] = host.sites()
    expect(site?.weight).toMatchObject({ rows: 4, columns: 16 / groups, groups, columnsPerChannel: 4 })
    const expected = convolve(x, await host.readWeight(site?.id ?? ''), groups, 2)
    const y = floats((await host.run({ x })).y)
    expect(y).toHaveLength(expected.length)
    expected.forEach((v, i) => expect(y[i]).toBeCloseTo(v, 5))
    await host.dispose()
  })

  it('ConvTranspose in groups: the transposed weight of the convolution it undoes', async () => {
    const host = await openOnnx(build({ nodes: [node('ConvTranspose', ['x', 'w'], ['y'], { group: 2 })], initializers: [weight('w', [4, 3, 2, 2], 5)], input: [1, 4, 1, 1] }))
    const x = randomTensor([1, 4, 1, 1], 6)
    const [site] = host.sites()
    const w = await host.readWeight(site?.id ?? '')
    expect(w.shape).toEqual([6, 8])
    // One input pixel: output (n, offset) is the sum over the channels of n's group.
    const y = floats((await host.run({ x })).y)
    for (let n = 0; n < 6; n++) {
      for (let r = 0; r < 4; r++) {
        const sum = [0, 1].reduce((s, c) => s + x.data[Math.floor(n / 3) * 2 + c] * w.data[n * 8 + c * 4 + r], 0)
        expect(y[n * 4 + r]).toBeCloseTo(sum, 5)
      }
    }
    await host.dispose()
  })

  it('follows a weight through Reshape and Transpose to where it is stored', async () => {
    const shape = hostToTensor('shape', { dtype: 'int64', shape: [2], data: BigInt64Array.of(5n, -1n) })
    const host = await openOnnx(
      build({
        nodes: [node('Reshape', ['w', 'shape'], ['w2']), node('Transpose', ['w2'], ['w3'], { perm: [1, 0] }), node('MatMul', ['x', 'w3'], ['y'], {}, '', 'm')],
        initializers: [weight('w', [5, 2, 4], 7), shape],
      }),
    )
    const w = await host.readWeight('m')
    expect([...w.data]).toEqual([...randomTensor([5, 2, 4], 7).data])
    const before = floats((await host.run({ x: randomTensor([2, 8], 8) })).y)
    await host.writeWeight('m', { ...w, data: w.data.map((v) => v * 2) })
    const after = floats((await host.run({ x: randomTensor([2, 8], 8) })).y)
    after.forEach((v, i) => expect(v).toBeCloseTo(2 * (before[i] ?? NaN), 5))
    await host.dispose()
  })
})

describe('sites', () => {
  it('share a weight: one owner, the others tied to it', async () => {
    const host = await openOnnx(tied().bytes)
    expect(host.sites().map((s) => [s.id, s.tiedTo])).toEqual([['embed', undefined], ['once', undefined], ['again', 'once'], ['identity', undefined], ['output', 'embed']])
    await host.dispose()
  })

  it('keep a weight in float for others that read it', async () => {
    const bytes = build({ nodes: [node('MatMul', ['x', 'w'], ['a'], {}, '', 'm'), node('Add', ['a', 'w'], ['y'])], initializers: [weight('w', [8, 8], 9)], input: [8, 8] })
    const host = await openOnnx(bytes)
    const [site] = host.sites()
    expect(site?.weight.shared).toBe(true)
    const w = await host.readWeight('m')
    await host.writeWeight('m', { ...w, data: w.data.map(() => 0) })
    expect([...floats((await host.run({ x: randomTensor([8, 8], 10) })).y)]).toEqual([...randomTensor([8, 8], 9).data])
    await host.dispose()
  })

  it('have ids that do not repeat, though node names do', async () => {
    const host = await openOnnx(build({ nodes: [node('MatMul', ['x', 'w'], ['a'], {}, '', 'm'), node('MatMul', ['a', 'w2'], ['b'], {}, '', 'm'), node('MatMul', ['b', 'w3'], ['y'])], initializers: [weight('w', [8, 8], 1), weight('w2', [8, 8], 2), weight('w3', [8, 8], 3)] }))
    expect(host.sites().map((s) => s.id)).toEqual(['m', 'm#2', 'y'])
    await host.dispose()
  })

  it('leave alone what stands inside subgraphs, and weights those capture stay in float', async () => {
    const branch = (): ReturnType<typeof graph> => graph({ nodes: [node('MatMul', ['a', 'w'], ['inner'])], inputs: [], outputs: [valueInfo('inner')] })
    const condition = hostToTensor('c', { dtype: 'bool', shape: [], data: Uint8Array.of(1) })
    const host = await openOnnx(
      build({ nodes: [node('MatMul', ['x', 'w'], ['a'], {}, '', 'm'), node('If', ['c'], ['y'], { then_branch: branch(), else_branch: branch() })], initializers: [weight('w', [8, 8], 11), condition] }),
    )
    expect(host.sites().map((s) => [s.id, s.weight.shared])).toEqual([['m', true]])
    const w = await host.readWeight('m')
    await host.writeWeight('m', { ...w, data: w.data.map((_, i) => (i % 9 === 0 ? 1 : 0)) })
    // The outer product is the identity now, the inner one is not.
    const x = randomTensor([8, 8], 12)
    const original = await openOnnx(build({ nodes: [node('MatMul', ['x', 'w'], ['y'])], initializers: [weight('w', [8, 8], 11)] }))
    expect([...floats((await host.run({ x })).y)]).toEqual([...floats((await original.run({ x })).y)])
    await host.dispose()
    await original.dispose()
  })

  it('list what is quantized already, and what is no matrix', async () => {
    const codes = hostToTensor('q', { dtype: 'int8', shape: [8, 8], data: new Int8Array(64).fill(3) })
    const scale = hostToTensor('s', { dtype: 'float32', shape: [], data: Float32Array.of(0.1) })
    const host = await openOnnx(
      build({
        nodes: [node('DequantizeLinear', ['q', 's'], ['wq']), node('MatMul', ['x', 'wq'], ['a'], {}, '', 'done'), node('MatMul', ['left', 'a'], ['b'], {}, '', 'left'), node('MatMul', ['b', 'w3'], ['y'], {}, '', 'stack')],
        initializers: [codes, scale, weight('left', [8, 8], 1), weight('w3', [2, 8, 8], 2)],
        input: [8, 8],
      }),
    )
    expect(host.sites()).toEqual([])
    expect(host.skipped()).toEqual([
      { id: 'done', reason: 'already quantized' },
      { id: 'left', reason: 'its constant is the left factor, and small' },
      { id: 'stack', reason: 'its weight has 3 dimensions, not 2', bytes: 512 },
    ])
    await host.dispose()
  })

  it('find in every written format only what is quantized already', async () => {
    for (const format of ['matmul-nbits', 'dequantize', 'dynamic']) {
      const host = await openOnnx(matrices().bytes)
      const { artifact } = await quantize(host, { format, weights: int8({ group: 32 }) })
      const again = await openOnnx(artifact.bytes())
      expect([format, again.sites().length, again.skipped().map((s) => s.reason)]).toEqual([format, 0, Array.from({ length: 4 }, () => 'already quantized')])
      await host.dispose()
      await again.dispose()
    }
  })
})
