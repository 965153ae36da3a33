import { graph, hostToTensor, model, node, readOnnx, tensorToHost, valueInfo, writeOnnx, type NodeProto, type TensorProto, type ValueInfoProto } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { examineOnnx, repairOnnx, type DoctorTarget } from '../src/index.js'
import { randomFloats } from './support/random.js'

const floats = (name: string, shape: readonly number[], data: Float32Array<ArrayBuffer>): TensorProto => hostToTensor(name, { dtype: 'float32', shape, data })
const bytesOf = (name: string, shape: readonly number[], data: Uint8Array<ArrayBuffer>): TensorProto => hostToTensor(name, { dtype: 'uint8', shape, data })
const random = (name: string, ...shape: readonly number[]): TensorProto => floats(name, shape, randomFloats(shape.reduce((a, b) => a * b, 1), name.length))

interface Parts {
  readonly nodes: readonly NodeProto[]
  readonly initializers?: readonly TensorProto[]
  readonly inputs?: readonly ValueInfoProto[]
  readonly outputs?: readonly ValueInfoProto[]
}

const build = ({ nodes, initializers = [], inputs = [valueInfo('x', 'float32', ['n', 32])], outputs = [valueInfo('y', 'float32')] }: Parts): Uint8Array<ArrayBuffer> => writeOnnx(model(graph({ nodes, initializers, inputs, outputs }), { '': 17, 'com.microsoft': 1 }, 8))
const rules = async (parts: Parts, targets: readonly DoctorTarget[] = []): Promise<string[]> => (await examineOnnx(build(parts), { targets })).map((f) => `${f.severity} ${f.rule}`)
const nbits = (zero: readonly string[], bits: number, attributes = {}): NodeProto => node('MatMulNBits', ['x', 'b', 's', ...zero], ['y'], { K: 32, N: 8, bits, block_size: 16, ...attributes }, 'com.microsoft', 'head')
const codes = (bits: number): readonly TensorProto[] => [bytesOf('b', [8, 2, 2 * bits], new Uint8Array(8 * 2 * 2 * bits).fill(0x1b)), random('s', 16)]

describe('examineOnnx', () => {
  it('says nothing of a plain float model', async () => {
    expect(await rules({ nodes: [node('MatMul', ['x', 'w'], ['y'])], initializers: [random('w', 32, 8)] })).toEqual([])
  })

  it('names MatMulNBits without accuracy_level, and not one with it', async () => {
    expect(await rules({ nodes: [nbits([], 4)], initializers: codes(4) })).toEqual(['warning accuracy-level'])
    expect(await rules({ nodes: [nbits([], 4, { accuracy_level: 4 })], initializers: codes(4) })).toEqual([])
    expect(await rules({ nodes: [nbits([], 4)], initializers: codes(4) }, ['tensorrt'])).toEqual(['error tensorrt'])
  })

  it('names the float head of a quantized model, with its share', async () => {
    const nodes = [node('MatMulNBits', ['x', 'b', 's'], ['h'], { K: 32, N: 8, bits: 4, block_size: 16, accuracy_level: 4 }, 'com.microsoft'), node('MatMul', ['h', 'w'], ['y'], {}, '', 'lm_head')]
    const found = await examineOnnx(build({ nodes, initializers: [...codes(4), random('w', 8, 4096)] }))
    expect(found).toMatchObject([{ rule: 'float-weights', where: ['lm_head'] }])
    expect(found[0].found).toMatch(/(9\d|100) % of the file/)
  })

  it.each([
    ['integer operators on WebGPU', { nodes: [node('DynamicQuantizeLinear', ['x'], ['q', 'qs', 'qz']), node('MatMulInteger', ['q', 'w', 'qz'], ['i']), node('Cast', ['i'], ['y'], { to: 1 })], initializers: [bytesOf('w', [32, 8], new Uint8Array(256))] }, ['webgpu'], ['warning integers-on-webgpu']],
    ['ConvInteger with int8 weights', { nodes: [node('ConvInteger', ['x', 'w'], ['y'])], initializers: [hostToTensor('w', { dtype: 'int8', shape: [2, 1, 3, 3], data: new Int8Array(18) })], inputs: [valueInfo('x', 'uint8', [1, 1, 8, 8])], outputs: [valueInfo('y', 'int32')] }, ['onnxruntime-web'], ['error conv-integer']],
    ['NaN in a weight', { nodes: [node('MatMul', ['x', 'w'], ['y'])], initializers: [floats('w', [32, 1], new Float32Array(32).fill(NaN))] }, [], ['error not-finite']],
    ['float16 that was cut off', { nodes: [node('MatMul', ['x', 'w'], ['y'])], initializers: [hostToTensor('w', { dtype: 'float16', shape: [32, 1], data: new Uint16Array(32).fill(0x7bff) })], inputs: [valueInfo('x', 'float16', ['n', 32])], outputs: [valueInfo('y', 'float16')] }, [], ['warning float16-saturated']],
    ['a mask of -3.4e38 in float32', { nodes: [node('Add', ['x', 'mask'], ['m']), node('Softmax', ['m'], ['y'])], initializers: [floats('mask', [1], Float32Array.of(-3.4e38))] }, [], ['hint wide-mask']],
    ['a mask of -3.4e38 beside float16', { nodes: [node('Add', ['x', 'mask'], ['m']), node('Cast', ['m'], ['h'], { to: 10 }), node('Softmax', ['h'], ['y'])], initializers: [floats('mask', [1], Float32Array.of(-3.4e38))], outputs: [valueInfo('y', 'float16')] }, [], ['error wide-mask']],
    ['a mask of -Infinity', { nodes: [node('Add', ['x', 'mask'], ['m']), node('Softmax', ['m'], ['y'])], initializers: [floats('mask', [1], Float32Array.of(-Infinity))] }, [], []],
    ['open sizes for WebNN', { nodes: [node('MatMul', ['x', 'w'], ['y'])], initializers: [random('w', 32, 8)] }, ['webnn'], ['error webnn']],
  ] as readonly (readonly [string, Parts, readonly DoctorTarget[], readonly string[]])[])('%s', async (_, parts, targets, expected) => {
    expect(await rules(parts, targets)).toEqual(expected)
  })

  it('holds TensorRT to symmetric int8 pairs', async () => {
    const pair = (zero: TensorProto): Parts => ({ nodes: [node('QuantizeLinear', ['x', 's', 'z'], ['q']), node('DequantizeLinear', ['q', 's', 'z'], ['d']), node('MatMul', ['d', 'w'], ['y'])], initializers: [floats('s', [], Float32Array.of(0.1)), zero, random('w', 32, 8)] })
    const zero = (value: number): TensorProto => hostToTensor('z', { dtype: 'int8', shape: [], data: Int8Array.of(value) })
    expect(await rules(pair(bytesOf('z', [], Uint8Array.of(128))), ['tensorrt'])).toEqual(['error tensorrt'])
    expect(await rules(pair(zero(3)), ['tensorrt'])).toEqual(['error tensorrt'])
    expect(await rules(pair(zero(0)), ['tensorrt'])).toEqual([])
  })

  it('sees convolutions whose pairs no integer kernel takes', async () => {
    const initializers = [floats('s', [], Float32Array.of(0.1)), bytesOf('z', [], Uint8Array.of(128)), bytesOf('w', [2, 1, 3, 3], new Uint8Array(18))]
    const nodes = [node('QuantizeLinear', ['x', 's', 'z'], ['q']), node('DequantizeLinear', ['q', 's', 'z'], ['d']), node('DequantizeLinear', ['w', 's', 'z'], ['wd']), node('Conv', ['d', 'wd'], ['c'], {}, '', 'conv')]
    const inputs = [valueInfo('x', 'float32', [1, 1, 8, 8])]
    expect(await rules({ nodes: [...nodes, node('Sigmoid', ['c'], ['y'])], initializers, inputs })).toEqual(['warning qdq-not-fused'])
    expect(await rules({ nodes: [...nodes, node('QuantizeLinear', ['c', 's', 'z'], ['cq']), node('DequantizeLinear', ['cq', 's', 'z'], ['y'])], initializers, inputs })).toEqual([])
  })
})

describe('repairOnnx', () => {
  it('stores whole float zero points as codes, low bits first and a row at a time', async () => {
    const zeros = Float32Array.from({ length: 16 }, (_, i) => i % 4)
    const bytes = build({ nodes: [nbits(['z'], 2)], initializers: [...codes(2), floats('z', [16], zeros)] })
    expect((await examineOnnx(bytes)).find((f) => f.rule === 'float-zero-points')).toMatchObject({ fixable: true })
    const { artifact, done } = await repairOnnx(bytes)
    expect(done).toEqual(['zero points of 1 products are stored as codes'])
    const { graph: fixed } = readOnnx(artifact.bytes())
    const packed = fixed?.initializer.find((t) => t.name === fixed.node[0].input[3])
    if (packed === undefined) throw new Error('no zero points')
    // Two groups a row, two bits each: rows 0, 1 of groups (0, 1), (2, 3).
    expect([...tensorToHost(packed).data]).toEqual([0b0100, 0b1110, 0b0100, 0b1110, 0b0100, 0b1110, 0b0100, 0b1110])
    expect(fixed?.initializer.some((t) => t.name === 'z')).toBe(false)
  })

  it('leaves zero points that are no codes', async () => {
    const bytes = build({ nodes: [nbits(['z'], 2)], initializers: [...codes(2), floats('z', [16], new Float32Array(16).fill(1.5))] })
    expect((await examineOnnx(bytes)).find((f) => f.rule === 'float-zero-points')?.fixable).toBeUndefined()
    expect((await repairOnnx(bytes)).done).toEqual([])
  })

  it('removes Casts that undo each other, copies, what nothing reads, and weights from the inputs', async () => {
    const w = random('w', 32, 16)
    const copy = { ...random('w', 32, 16), name: 'copy' }
    const bytes = build({
      nodes: [node('Cast', ['x'], ['up'], { to: 1 }), node('Cast', ['up'], ['down'], { to: 10 }), node('MatMul', ['down', 'w'], ['a']), node('MatMul', ['down', 'copy'], ['b']), node('Add', ['a', 'b'], ['y'])],
      initializers: [w, copy, random('lost', 512)].map((t) => hostToTensor(t.name, { dtype: 'float16', shape: t.dims.map(Number), data: new Uint16Array(t.dims.reduce((n, d) => n * Number(d), 1)).fill(0x3c00) })),
      inputs: [valueInfo('x', 'float16', ['n', 32]), valueInfo('w', 'float16', [32, 16])],
      outputs: [valueInfo('y', 'float16')],
    })
    const found = await examineOnnx(bytes)
    expect(found.filter((f) => f.fixable).map((f) => f.rule).sort()).toEqual(['cast-pairs', 'unread', 'weights-as-inputs'])
    const { artifact, done } = await repairOnnx(bytes)
    expect(done).toHaveLength(4)
    const fixed = readOnnx(artifact.bytes()).graph
    expect(fixed?.node.map((n) => n.opType)).toEqual(['MatMul', 'MatMul', 'Add'])
    expect(fixed?.initializer).toHaveLength(1)
    expect(fixed?.input.map((i) => i.name)).toEqual(['x'])
    expect((await examineOnnx(artifact.bytes())).filter((f) => f.fixable)).toEqual([])
  })

  it('keeps a Cast that rounds', async () => {
    const bytes = build({ nodes: [node('Cast', ['x'], ['half'], { to: 10 }), node('Cast', ['half'], ['back'], { to: 1 }), node('MatMul', ['back', 'w'], ['y'])], initializers: [random('w', 32, 8)] })
    expect((await repairOnnx(bytes)).done).toEqual([])
  })
})
