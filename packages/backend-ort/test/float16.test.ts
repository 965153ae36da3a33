import { fromFloat16, type Batch } from '@lowbit/core'
import { graph, hostToTensor, model, node, readOnnx, valueInfo, writeOnnx, type NodeProto, type TensorProto, type ValueInfoProto } from '@lowbit/formats'
import { float16Model, type Float16Options } from '@lowbit/onnx'
import { describe, expect, it } from 'vitest'
import { compareModels, measureRanges, openOnnx } from '../src/index.js'
import { randomFloats } from './support/random.js'

const floats = (name: string, shape: readonly number[], data: Float32Array<ArrayBuffer>): TensorProto => hostToTensor(name, { dtype: 'float32', shape, data })
const x = (rows: number, columns: number, seed: number, scale = 1): Batch => ({ x: { dtype: 'float32', shape: [rows, columns], data: randomFloats(rows * columns, seed).map((v) => v * scale) } })

function build(nodes: readonly NodeProto[], initializers: readonly TensorProto[], outputs: readonly ValueInfoProto[] = [valueInfo('y', 'float32')], inputs = [valueInfo('x', 'float32', ['n', 16])]): Uint8Array<ArrayBuffer> {
  return writeOnnx(model(graph({ nodes, inputs, outputs, initializers }), { '': 17 }, 8))
}

async function convert(bytes: Uint8Array<ArrayBuffer>, options: Float16Options = {}): Promise<{ readonly half: Uint8Array; readonly wide: readonly string[]; readonly clamped: readonly string[] }> {
  const { artifact, wide, clamped, close } = await float16Model(bytes, options)
  const half = artifact.bytes()
  await close()
  return { half, wide: wide.map(({ op }) => op), clamped }
}

async function sqnr(a: Uint8Array, b: Uint8Array, batches: readonly Batch[]): Promise<number> {
  const [reference, candidate] = [await openOnnx(a), await openOnnx(b)]
  const { outputs } = await compareModels(reference, candidate, batches, { latency: false, saturation: false })
  await reference.dispose()
  await candidate.dispose()
  return Math.min(...outputs.map((o) => o.sqnr))
}

const casts = (bytes: Uint8Array): number => readOnnx(bytes).graph?.node.filter((n) => n.opType === 'Cast').length ?? 0

const network = build(
  [node('MatMul', ['x', 'w'], ['p']), node('Add', ['p', 'b'], ['a']), node('Relu', ['a'], ['r']), node('MatMul', ['r', 'v'], ['y'])],
  [floats('w', [16, 512], randomFloats(16 * 512, 1)), floats('b', [512], randomFloats(512, 2)), floats('v', [512, 4], randomFloats(2048, 3))],
)

describe('convertToFloat16', () => {
  it('halves the file and keeps float32 at its doors, with one Cast at each', async () => {
    const { half } = await convert(network)
    expect(half.length).toBeLessThan(0.55 * network.length)
    expect(casts(half)).toBe(2)
    expect(await sqnr(network, half, [x(8, 16, 5)])).toBeGreaterThan(55)
  })

  it('gives and takes float16 where it is asked to, without a Cast', async () => {
    const { half } = await convert(network, { io: 'float16' })
    expect(casts(half)).toBe(0)
    const host = await openOnnx(half)
    expect([host.inputs()[0].dtype, host.outputs()[0].dtype]).toEqual(['float16', 'float16'])
    await host.dispose()
  })

  it('keeps in float32 what was measured beyond float16, and without data what squares may make', async () => {
    const bytes = build(
      [node('Mul', ['x', 'x'], ['q']), node('ReduceMean', ['q'], ['m'], { axes: [1] }), node('Add', ['m', 'eps'], ['e']), node('Sqrt', ['e'], ['s']), node('Div', ['x', 's'], ['d']), node('MatMul', ['d', 'w'], ['y'])],
      [floats('eps', [], Float32Array.of(1e-12)), floats('w', [16, 8], randomFloats(128, 4))],
    )
    const batches = [x(8, 16, 6, 900)]
    const blind = await convert(bytes)
    expect(blind.wide).toEqual(expect.arrayContaining(['Mul', 'ReduceMean', 'Add', 'Sqrt']))
    expect(await sqnr(bytes, blind.half, batches)).toBeGreaterThan(55)
    const ranges = await measureRanges(bytes, batches)
    expect(ranges.get('q')?.max).toBeGreaterThan(65504)
    const measured = await convert(bytes, { ranges })
    expect(await sqnr(bytes, measured.half, batches)).toBeGreaterThan(55)
    // Where values stay small nothing but the constant that float16 makes 0 is left.
    const small = await convert(bytes, { ranges: await measureRanges(bytes, [x(8, 16, 6)]) })
    expect(small.wide).toEqual(['Add'])
  })

  it('lets a row that is masked whole be what it was, not NaN', async () => {
    const bytes = build(
      [node('Add', ['x', 'mask'], ['m']), node('Add', ['m', 'mask'], ['twice']), node('Softmax', ['twice'], ['s']), node('MatMul', ['s', 'w'], ['y'])],
      [floats('mask', [1, 16], new Float32Array(16).fill(-3.4e38)), floats('w', [16, 64], randomFloats(1024, 8))],
    )
    const { half, clamped } = await convert(bytes)
    expect(clamped).toEqual(['mask'])
    const host = await openOnnx(half)
    const { y } = await host.run(x(4, 16, 9))
    expect([...y.data].every((v) => Number.isFinite(Number(v)))).toBe(true)
    await host.dispose()
  })

  it('leaves a constant beyond float16, and what reads it, in float32', async () => {
    const bytes = build([node('Mul', ['x', 'tiny'], ['t']), node('MatMul', ['t', 'w'], ['p']), node('Mul', ['p', 'huge'], ['y'])], [floats('tiny', [], Float32Array.of(1e-9)), floats('huge', [], Float32Array.of(1e9)), floats('w', [16, 64], randomFloats(1024, 8))])
    const { half, wide } = await convert(bytes)
    expect(wide).toEqual(expect.arrayContaining(['Mul']))
    expect(await sqnr(bytes, half, [x(4, 16, 10)])).toBeGreaterThan(10)
  })

  it('hands a body the float32 tensors that it captures, and outputs that are read inside too', async () => {
    const body = (op: string): ReturnType<typeof graph> => graph({ nodes: [node(op, ['p'], ['inside'])], inputs: [], outputs: [valueInfo('inside', 'float32')] })
    const bytes = build(
      [node('MatMul', ['x', 'w'], ['p']), node('ReduceSum', ['p'], ['sum'], { keepdims: 0 }), node('Greater', ['sum', 'zero'], ['c']), node('If', ['c'], ['i'], { then_branch: body('Relu'), else_branch: body('Neg') }), node('MatMul', ['i', 'v'], ['y']), node('Relu', ['p'], ['z'])],
      [floats('w', [16, 64], randomFloats(1024, 11)), floats('v', [64, 8], randomFloats(512, 12)), floats('zero', [], Float32Array.of(0))],
      [valueInfo('y', 'float32'), valueInfo('p', 'float32'), valueInfo('z', 'float32')],
    )
    const { half } = await convert(bytes)
    expect(await sqnr(bytes, half, [x(4, 16, 13), x(4, 16, 14)])).toBeGreaterThan(50)
    expect(half.length).toBeLessThan(bytes.length)
  })

  it('converts convolutions, resizing, tops and comparisons as the runtime wants them', async () => {
    const bytes = build(
      [
        node('Conv', ['x', 'k'], ['c'], { pads: [1, 1, 1, 1] }), node('Resize', ['c', '', 'scales'], ['r'], { mode: 'nearest' }), node('GlobalAveragePool', ['r'], ['g']), node('Flatten', ['g'], ['f']),
        node('TopK', ['f', 'two'], ['top', 'at']), node('ConstantOfShape', ['shape'], ['zeros'], { value: floats('v', [1], Float32Array.of(0.25)) }), node('Greater', ['f', 'quarter'], ['mask']), node('Where', ['mask', 'f', 'zeros'], ['y']),
      ],
      [floats('k', [8, 3, 3, 3], randomFloats(216, 15)), floats('scales', [4], Float32Array.of(1, 1, 2, 2)), floats('quarter', [], Float32Array.of(0.25)), hostToTensor('two', { dtype: 'int64', shape: [1], data: BigInt64Array.of(2n) }), hostToTensor('shape', { dtype: 'int64', shape: [2], data: BigInt64Array.of(1n, 8n) })],
      [valueInfo('y', 'float32'), valueInfo('top', 'float32'), valueInfo('at', 'int64')],
      [valueInfo('x', 'float32', [1, 3, 8, 8])],
    )
    const { half } = await convert(bytes)
    const host = await openOnnx(half)
    const { y, top } = await host.run({ x: { dtype: 'float32', shape: [1, 3, 8, 8], data: randomFloats(192, 16) } })
    expect([y.dtype, top.dtype]).toEqual(['float32', 'float32'])
    await host.dispose()
  })

  it('stores weights as the nearest float16 values', async () => {
    const { half } = await convert(network)
    const stored = readOnnx(half).graph?.initializer.find((t) => t.name.startsWith('b_'))
    const bits = new Uint16Array(Uint8Array.from(stored?.rawData ?? []).buffer)
    const given = randomFloats(512, 2)
    fromFloat16(bits).forEach((value, i) => expect(Math.abs(value - given[i])).toBeLessThanOrEqual(Math.abs(given[i]) * 2 ** -11 + 2 ** -25))
  })
})
