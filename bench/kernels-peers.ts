import { tensor, type HostTensor } from '@lowbit/core'
import { graph, hostToTensor, model, node, valueInfo, writeOnnx, type NodeProto, type TensorProto } from '@lowbit/formats'
import type * as Ort from 'onnxruntime-common'

/** What is measured: a name, and one product. */
export interface Contender {
  readonly name: string
  run(): unknown
}

export interface Shape {
  readonly m: number
  readonly k: number
  readonly n: number
}

/** Which product a peer computes. */
export type PeerProduct = 'int4' | 'int2' | 'int8' | 'float32'

const floats = (count: number): Float32Array<ArrayBuffer> => Float32Array.from({ length: count }, () => Math.random() * 2 - 1)
const bytes = (count: number): Uint8Array<ArrayBuffer> => Uint8Array.from({ length: count }, () => Math.floor(Math.random() * 256))

interface Parts {
  readonly node: NodeProto
  readonly initializers: readonly TensorProto[]
  readonly input: HostTensor
}

function parts(product: PeerProduct, { m, k, n }: Shape): Parts {
  if (product === 'float32') return { node: node('MatMul', ['A', 'B'], ['Y']), initializers: [hostToTensor('B', tensor('float32', [k, n], floats(k * n)))], input: tensor('float32', [m, k], floats(m * k)) }
  if (product === 'int8') return { node: node('MatMulInteger', ['A', 'B'], ['Y']), initializers: [hostToTensor('B', tensor('int8', [k, n], new Int8Array(bytes(k * n).buffer)))], input: tensor('uint8', [m, k], bytes(m * k)) }
  const bits = product === 'int4' ? 4 : 2
  const block = 32
  const blocks = Math.ceil(k / block)
  return {
    node: node('MatMulNBits', ['A', 'B', 'S'], ['Y'], { K: k, N: n, bits, block_size: block, accuracy_level: 4 }, 'com.microsoft'),
    initializers: [hostToTensor('B', tensor('uint8', [n, blocks, (block * bits) / 8], bytes((n * blocks * block * bits) / 8))), hostToTensor('S', tensor('float32', [n * blocks], floats(n * blocks)))],
    input: tensor('float32', [m, k], floats(m * k)),
  }
}

/** A product on ONNX Runtime, node or web: MatMulNBits with accuracy level 4 (int8 activations), MatMulInteger, MatMul. */
export async function onnxRuntime(which: 'node' | 'web', product: PeerProduct, shape: Shape, threads: number): Promise<Contender & { close(): Promise<void> }> {
  const ort: typeof Ort = which === 'node' ? await import('onnxruntime-node') : await import('onnxruntime-web')
  if (which === 'web') ort.env.wasm.numThreads = threads
  const { node: op, initializers, input } = parts(product, shape)
  const output = valueInfo('Y', product === 'int8' ? 'int32' : 'float32', [shape.m, shape.n])
  const proto = model(graph({ nodes: [op], inputs: [valueInfo('A', product === 'int8' ? 'uint8' : 'float32', [shape.m, shape.k])], outputs: [output], initializers }), { '': 21, 'com.microsoft': 1 })
  const session = await ort.InferenceSession.create(writeOnnx(proto), { intraOpNumThreads: threads, interOpNumThreads: 1, executionProviders: [which === 'node' ? 'cpu' : 'wasm'] })
  const A = input.data instanceof Uint8Array ? new ort.Tensor('uint8', input.data, [shape.m, shape.k]) : new ort.Tensor('float32', input.data as Float32Array, [shape.m, shape.k])
  const names = { float32: 'MatMul', int8: 'MatMulInteger', int4: 'MatMulNBits 4 bit', int2: 'MatMulNBits 2 bit' }
  return { name: `onnxruntime-${which} ${names[product]}`, run: () => session.run({ A }), close: () => session.release() }
}

/** tfjs on its wasm backend, f32. */
export async function tfjs({ m, k, n }: Shape): Promise<Contender & { close(): Promise<void> }> {
  const tf = await import('@tensorflow/tfjs-core')
  await import('@tensorflow/tfjs-backend-wasm')
  await tf.setBackend('wasm')
  await tf.ready()
  const a = tf.tensor2d(floats(m * k), [m, k])
  const b = tf.tensor2d(floats(k * n), [k, n])
  return {
    name: 'tfjs wasm matMul',
    run() {
      const y = tf.matMul(a, b)
      const data = y.dataSync()
      y.dispose()
      return data
    },
    async close() {
      a.dispose()
      b.dispose()
    },
  }
}
