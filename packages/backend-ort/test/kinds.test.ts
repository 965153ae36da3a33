import { type Batch, bytesPerElement, type HostTensor, int4, int8, quantize, toBfloat16, toFloat16 } from '@lowbit/core'
import { create, FunctionProtoSchema, graph, hostToTensor, model, node, type NodeProto, type OnnxType, readOnnx, tensorBytes, tensorsOf, type TensorProto, valueInfo, writeOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { compareModels, openOnnx } from '../src/index.js'
import { randomFloats, randomTensor } from './support/random.js'

interface Kind {
  readonly nodes: readonly NodeProto[]
  readonly inputs: Readonly<Record<string, HostTensor>>
  readonly weights: readonly TensorProto[]
  readonly outputs?: readonly string[]
  readonly opset?: number
  /** Bytes of large tensors that are no weights. */
  readonly left?: number
  readonly domains?: Readonly<Record<string, number>>
  readonly functions?: Parameters<typeof withFunctions>[1]
}

const weight = (name: string, shape: readonly number[], seed: number, scale = 0.2): TensorProto => hostToTensor(name, randomTensor(shape, seed, scale))
const x = (shape: readonly number[], seed = 90): HostTensor => randomTensor(shape, seed)
const body = (nodes: readonly NodeProto[], output: string | readonly string[], initializers: readonly TensorProto[] = [], inputs: readonly ReturnType<typeof valueInfo>[] = []): ReturnType<typeof graph> =>
  graph({ nodes: [...nodes], inputs: [...inputs], outputs: [output].flat().map((name) => valueInfo(name)), initializers: [...initializers] })
const flag: TensorProto = hostToTensor('flag', { dtype: 'bool', shape: [], data: Uint8Array.of(1) })
const typed = (name: string, dtype: 'float16' | 'bfloat16' | 'float64', shape: readonly number[], seed: number): TensorProto => {
  const data = randomFloats(shape.reduce((a, b) => a * b, 1), seed, 0.2)
  return hostToTensor(name, dtype === 'float64' ? { dtype, shape, data: Float64Array.from(data) } : { dtype, shape, data: dtype === 'float16' ? toFloat16(data) : toBfloat16(data) })
}

const KINDS: Readonly<Record<string, Kind>> = {
  'LSTM, both directions': {
    nodes: [node('LSTM', ['x', 'W', 'R', 'B'], ['y'], { hidden_size: 32, direction: 'bidirectional' }, '', 'lstm')],
    inputs: { x: x([5, 2, 24]) },
    weights: [weight('W', [2, 128, 24], 1), weight('R', [2, 128, 32], 2), weight('B', [2, 256], 3)],
    // Biases are no weights.
    left: 2048,
  },
  GRU: { nodes: [node('GRU', ['x', 'W', 'R'], ['y'], { hidden_size: 32 }, '', 'gru')], inputs: { x: x([5, 2, 24]) }, weights: [weight('W', [1, 96, 24], 1), weight('R', [1, 96, 32], 2)] },
  RNN: { nodes: [node('RNN', ['x', 'W', 'R'], ['y'], { hidden_size: 32 }, '', 'rnn')], inputs: { x: x([5, 2, 24]) }, weights: [weight('W', [1, 32, 24], 1), weight('R', [1, 32, 32], 2)] },
  'a voice detector: a convolution and an LSTM in the branches of each rate, weights inside and outside': {
    nodes: [
      node('Equal', ['rate', 'sixteen'], ['is16']),
      node('If', ['is16'], ['y'], {
        then_branch: body([node('Conv', ['x', 'basis'], ['c'], { strides: [16] }), node('Relu', ['c'], ['r']), node('Transpose', ['r'], ['s'], { perm: [2, 0, 1] }), node('LSTM', ['s', 'W', 'R'], ['', 'h'], { hidden_size: 32 }), node('Gemm', ['hs', 'head'], ['t'], { transB: 1 }), node('Squeeze', ['h', 'first'], ['hs'])].sort((a, b) => Number(a.opType === 'Gemm') - Number(b.opType === 'Gemm')), 't'),
        else_branch: body([node('Conv', ['x', 'k8'], ['e8']), node('ReduceMax', ['e8'], ['m8'], { axes: [2], keepdims: 0 }), node('Gemm', ['m8', 'head8'], ['e'], { transB: 1 })], 'e', [weight('k8', [32, 1, 32], 6), weight('head8', [40, 32], 7)]),
      }, '', 'choice'),
    ],
    inputs: { x: x([1, 1, 256]), rate: { dtype: 'int64', shape: [], data: BigInt64Array.of(16000n) } },
    weights: [
      hostToTensor('sixteen', { dtype: 'int64', shape: [], data: BigInt64Array.of(16000n) }), hostToTensor('first', { dtype: 'int64', shape: [1], data: BigInt64Array.of(0n) }),
      weight('basis', [32, 1, 64], 1), weight('W', [1, 128, 32], 2), weight('R', [1, 128, 32], 3), weight('head', [40, 32], 4),
    ],
  },
  'a square weight in a branch that the runtime takes, behind a quantized activation': {
    nodes: [
      node('QuantizeLinear', ['x', 'as', 'az'], ['xq']), node('DequantizeLinear', ['xq', 'as', 'az'], ['xd']),
      node('If', ['flag'], ['y'], { then_branch: body([node('MatMul', ['xd', 'w'], ['t'])], 't'), else_branch: body([node('MatMul', ['xd', 'w'], ['m']), node('Neg', ['m'], ['e'])], 'e') }, '', 'choice'),
    ],
    inputs: { x: x([4, 32]) },
    weights: [flag, weight('w', [32, 32], 1), hostToTensor('as', { dtype: 'float32', shape: [], data: Float32Array.of(0.02) }), hostToTensor('az', { dtype: 'uint8', shape: [], data: Uint8Array.of(128) })],
  },
  'a weight that two branches read': {
    nodes: [node('If', ['flag'], ['y'], { then_branch: body([node('MatMul', ['x', 'w'], ['t'])], 't'), else_branch: body([node('MatMul', ['x', 'w'], ['m']), node('Neg', ['m'], ['e'])], 'e') }, '', 'choice')],
    inputs: { x: x([4, 32]) },
    weights: [flag, weight('w', [32, 40], 1)],
  },
  'weights inside of branches, of one name': {
    nodes: [node('If', ['flag'], ['y'], { then_branch: body([node('MatMul', ['x', 'w'], ['t'])], 't', [weight('w', [32, 40], 1)]), else_branch: body([node('MatMul', ['x', 'w'], ['e'])], 'e', [weight('w', [32, 40], 2)]) }, '', 'choice')],
    inputs: { x: x([4, 32]) },
    weights: [flag],
  },
  'a weight of the main graph and a branch': {
    nodes: [node('MatMul', ['x', 'w'], ['a'], {}, '', 'outer'), node('If', ['flag'], ['y'], { then_branch: body([node('MatMul', ['a', 'w'], ['t'])], 't'), else_branch: body([node('Neg', ['a'], ['e'])], 'e') }, '', 'choice')],
    inputs: { x: x([4, 32]) },
    weights: [flag, weight('w', [32, 32], 1)],
  },
  'a Constant inside a Loop': {
    nodes: [
      node('Loop', ['trips', '', 'x'], ['y'], {
        body: body([node('Identity', ['going'], ['on']), node('Constant', [], ['w'], { value: weight('', [32, 32], 1) }), node('MatMul', ['state', 'w'], ['m']), node('Tanh', ['m'], ['next'])], ['on', 'next'], [], [valueInfo('i', 'int64', []), valueInfo('going', 'bool', []), valueInfo('state', 'float32', [4, 32])]),
      }, '', 'loop'),
    ],
    inputs: { x: x([4, 32]) },
    weights: [hostToTensor('trips', { dtype: 'int64', shape: [], data: BigInt64Array.of(3n) })],
  },
  'a weight that a Scan reads, behind a Transpose': {
    nodes: [
      node('Scan', ['start', 'x'], ['last', 'y'], {
        num_scan_inputs: 1,
        body: graph({
          nodes: [node('Transpose', ['w'], ['wt'], { perm: [1, 0] }), node('MatMul', ['state', 'wt'], ['m']), node('Add', ['m', 'step'], ['next']), node('Identity', ['next'], ['out'])],
          inputs: [valueInfo('state', 'float32', [32]), valueInfo('step', 'float32', [32])],
          outputs: [valueInfo('next', 'float32', [32]), valueInfo('out', 'float32', [32])],
          initializers: [],
        }),
      }, '', 'scan'),
    ],
    inputs: { x: x([4, 32]) },
    weights: [weight('start', [32], 5), weight('w', [32, 32], 1, 0.1)],
  },
  'a stack of matrices': { nodes: [node('MatMul', ['x', 'w'], ['y'], {}, '', 'stack')], inputs: { x: x([3, 4, 32]) }, weights: [weight('w', [3, 32, 40], 1)] },
  'a constant on the left': { nodes: [node('MatMul', ['w', 'x'], ['y'], {}, '', 'left')], inputs: { x: x([32, 5]) }, weights: [weight('w', [40, 32], 1)] },
  Einsum: { nodes: [node('Einsum', ['x', 'w'], ['y'], { equation: 'bij,jk->bik' }, '', 'sum')], inputs: { x: x([2, 4, 32]) }, weights: [weight('w', [32, 40], 1)] },
  'a lookup in a table of three dimensions': { nodes: [node('Gather', ['w', 'i'], ['y'], {}, '', 'look')], inputs: { i: { dtype: 'int64', shape: [5], data: BigInt64Array.of(1n, 3n, 5n, 7n, 9n) } }, weights: [weight('w', [12, 4, 32], 1)] },
  'a lookup along the second axis': { nodes: [node('Gather', ['w', 'i'], ['y'], { axis: 1 }, '', 'look')], inputs: { i: { dtype: 'int64', shape: [5], data: BigInt64Array.of(1n, 3n, 5n, 7n, 9n) } }, weights: [weight('w', [32, 40], 1)] },
  'Attention of ONNX Runtime': { nodes: [node('Attention', ['x', 'w', 'b'], ['y'], { num_heads: 4 }, 'com.microsoft', 'attention')], inputs: { x: x([1, 6, 32]) }, weights: [weight('w', [32, 96], 1), weight('b', [96], 2)], domains: { 'com.microsoft': 1 } },
  FusedMatMul: { nodes: [node('FusedMatMul', ['x', 'w'], ['y'], { transB: 1 }, 'com.microsoft', 'fused')], inputs: { x: x([4, 32]) }, weights: [weight('w', [40, 32], 1)], domains: { 'com.microsoft': 1 } },
  'a float16 weight behind a Cast': { nodes: [node('Cast', ['w'], ['wf'], { to: 1 }), node('MatMul', ['x', 'wf'], ['y'], {}, '', 'cast')], inputs: { x: x([4, 32]) }, weights: [typed('w', 'float16', [32, 160], 1)] },
  'a bfloat16 weight behind Cast and Transpose': { nodes: [node('Transpose', ['w'], ['wt'], { perm: [1, 0] }), node('Cast', ['wt'], ['wf'], { to: 1 }), node('MatMul', ['x', 'wf'], ['y'], {}, '', 'cast')], inputs: { x: x([4, 32]) }, weights: [typed('w', 'bfloat16', [160, 32], 1)] },
  'float64 throughout': { nodes: [node('MatMul', ['x', 'w'], ['y'], {}, '', 'double')], inputs: { x: { dtype: 'float64', shape: [4, 32], data: Float64Array.from(randomFloats(128, 9)) } }, weights: [typed('w', 'float64', [32, 40], 1)] },
  'a function in a function, its weight a Constant': {
    nodes: [node('Outer', ['x'], ['y'], { slope: 5 }, 'local', 'call')],
    inputs: { x: x([4, 32]) },
    weights: [],
    domains: { local: 1 },
    functions: [
      { name: 'Outer', inputs: ['a'], outputs: ['b'], attributes: ['slope'], nodes: [node('Inner', ['a'], ['h'], {}, 'local'), node('Cast', ['h'], ['b'], { to: 1 })] },
      { name: 'Inner', inputs: ['a'], outputs: ['b'], attributes: [], nodes: [node('Constant', [], ['w'], { value: weight('', [32, 40], 1) }), node('MatMul', ['a', 'w'], ['b'])] },
    ],
  },
  'a function that is given its weight, called twice': {
    nodes: [node('Layer', ['x', 'w1'], ['h'], {}, 'local', 'first'), node('Layer', ['h', 'w2'], ['y'], {}, 'local', 'second')],
    inputs: { x: x([4, 32]) },
    weights: [weight('w1', [32, 32], 1), weight('w2', [32, 32], 2)],
    domains: { local: 1 },
    functions: [{ name: 'Layer', inputs: ['a', 'w'], outputs: ['c'], attributes: [], nodes: [node('MatMul', ['a', 'w'], ['b']), node('Relu', ['b'], ['c'])] }],
  },
}

/** A model with functions of its own, as exporters write them. */
function withFunctions(bytes: Uint8Array<ArrayBuffer>, functions: readonly { readonly name: string; readonly inputs: readonly string[]; readonly outputs: readonly string[]; readonly attributes: readonly string[]; readonly nodes: readonly NodeProto[] }[], opset: number): Uint8Array<ArrayBuffer> {
  const read = readOnnx(bytes)
  for (const f of functions) {
    read.functions.push(createFunction(f, opset))
  }
  return writeOnnx(read)
}

function createFunction(f: Parameters<typeof withFunctions>[1][number], opset: number): ReturnType<typeof readOnnx>['functions'][number] {
  const holder = model(graph({ nodes: [...f.nodes], inputs: [], outputs: [], initializers: [] }), { '': opset, local: 1 }, 8)
  return create(FunctionProtoSchema, { name: f.name, domain: 'local', input: [...f.inputs], output: [...f.outputs], attribute: [...f.attributes], node: holder.graph?.node ?? [], opsetImport: holder.opsetImport })
}

function build({ nodes, inputs, weights, outputs = ['y'], opset = 17, domains = {}, functions }: Kind): Uint8Array<ArrayBuffer> {
  const main = graph({ nodes: [...nodes], inputs: Object.entries(inputs).map(([name, t]) => valueInfo(name, t.dtype as OnnxType, t.shape)), outputs: outputs.map((name) => valueInfo(name)), initializers: [...weights] })
  const bytes = writeOnnx(model(main, { '': opset, ...domains }, opset >= 21 ? 10 : 8))
  return functions === undefined ? bytes : withFunctions(bytes, functions, opset)
}

/** Bytes of all tensors of floats above 1 KB. */
const largeFloats = (bytes: Uint8Array): number => [...tensorsOf(readOnnx(bytes))].reduce((sum, t) => sum + ([1, 10, 11, 16].includes(t.dataType) && tensorBytes(t) >= 1024 && t.dims.length > 1 ? tensorBytes(t) : 0), 0)

describe.each(Object.entries(KINDS))('%s', (_, kind) => {
  const bytes = build(kind)
  const batch: Batch = kind.inputs

  it.each(['dequantize', 'dynamic', 'matmul-nbits', 'qdq', 'qoperator'] as const)('is quantized as %s, computes nearly the same, and is what the host computes', async (format) => {
    const float = await openOnnx(bytes)
    const host = await openOnnx(bytes, { prepare: format.startsWith('q') })
    const weights = format === 'matmul-nbits' ? int4({ group: 16 }) : int8()
    const { artifact, report } = await quantize(host, { format, weights, ...(format.startsWith('q') ? { activations: { dtype: 'uint8' as const, method: 'minmax' as const, rescue: false }, calibration: [batch] } : {}) })
    expect(report.sites.filter((s) => s.status === 'quantized').length).toBeGreaterThan(0)
    // Nothing is kept twice: no large weight is left in float.
    expect(largeFloats(artifact.bytes())).toBe(kind.left ?? 0)
    expect(artifact.size).toBeLessThan(0.75 * bytes.length)
    const small = await openOnnx(artifact.bytes())
    const { outputs } = await compareModels(float, small, [batch], { latency: false, saturation: false })
    expect(outputs[0].sqnr).toBeGreaterThan(format === 'matmul-nbits' ? 14 : 28)
    for (const h of [float, host, small]) await h.dispose()
  })

  it('is what it was where nothing is quantized', async () => {
    const float = await openOnnx(bytes)
    const host = await openOnnx(bytes)
    const again = await openOnnx((await host.emit('dequantize')).bytes())
    const { outputs } = await compareModels(float, again, [batch], { latency: false, saturation: false })
    expect(outputs[0].maxError).toBe(0)
    expect((await host.emit('dequantize')).bytes().length).toBeLessThan(bytes.length * 1.05 + 200)
    for (const h of [float, host, again]) await h.dispose()
  })

  it('is listed whole', async () => {
    const host = await openOnnx(bytes)
    const named = [...host.sites().map((s) => (s.tiedTo === undefined ? (s.weight.bytes ?? s.weight.rows * s.weight.columns * bytesPerElement(s.weight.dtype)) : 0)), ...host.skipped().map((s) => s.bytes ?? 0)].reduce((a, b) => a + b, 0)
    expect(named).toBeGreaterThanOrEqual(largeFloats(bytes))
    await host.dispose()
  })
})

describe('a model that was trained to be quantized', () => {
  const trained = (perChannel: boolean, dtype: 'int8' | 'uint8'): Uint8Array<ArrayBuffer> => {
    const w = randomTensor([32, 40], 1, 0.2)
    const scales = perChannel ? Float32Array.from({ length: 40 }, (_, i) => 0.002 + i * 1e-4) : Float32Array.of(0.004)
    const zero = dtype === 'int8' ? { dtype, shape: perChannel ? [40] : [], data: new Int8Array(scales.length) } : { dtype, shape: perChannel ? [40] : [], data: new Uint8Array(scales.length).fill(128) }
    const params = ['s', 'z']
    return build({
      nodes: [node('QuantizeLinear', ['w', ...params], ['wq'], perChannel ? { axis: 1 } : {}), node('DequantizeLinear', ['wq', ...params], ['wd'], perChannel ? { axis: 1 } : {}), node('MatMul', ['x', 'wd'], ['y'], {}, '', 'product')],
      inputs: { x: x([4, 32]) },
      weights: [hostToTensor('w', w), hostToTensor('s', { dtype: 'float32', shape: perChannel ? [40] : [], data: scales }), hostToTensor('z', zero)],
    })
  }

  it.each([
    [true, 'int8'],
    [false, 'int8'],
    [true, 'uint8'],
    [false, 'uint8'],
  ] as const)('keeps its codes (per channel: %s, %s), a quarter of the size, to the last bit', async (perChannel, dtype) => {
    const bytes = trained(perChannel, dtype)
    const [float, host] = [await openOnnx(bytes), await openOnnx(bytes)]
    expect(host.prepared.join()).toContain('codes they were trained to be: 5120 → 1280 bytes')
    expect(host.skipped()).toContainEqual({ id: 'product', reason: 'already quantized' })
    const artifact = await host.emit('dequantize')
    expect(artifact.size).toBeLessThan(bytes.length - 3700)
    const small = await openOnnx(artifact.bytes())
    const { outputs } = await compareModels(float, small, [{ x: x([4, 32]) }], { latency: false, saturation: false })
    expect(outputs[0].maxError).toBe(0)
    for (const h of [float, host, small]) await h.dispose()
  })
})
