import { openOnnx, type OnnxHost } from '@lowbit/backend-ort'
import { gptq } from '@lowbit/algos-gptq'
import { type Batch, bytesPerElement, elementCount, type HostTensor, int4, int8, isLowbitError, quantize, type QuantizeOptions, type TensorRef, uint4 } from '@lowbit/core'
import { graph, hostToTensor, model, node, readOnnx, valueInfo, writeOnnx } from '@lowbit/formats'
import { convolutions, matrices, tied } from '../../packages/onnx/test/support/models.js'
import { randomTensor } from '../../packages/onnx/test/support/random.js'
import { pictures, sequences } from '../../packages/backend-ort/test/support/sweep-models.js'
import type { Dice } from './dice.js'
import { mutateBytes } from './mutate-bytes.js'
import { mutateOnnx } from './mutate-onnx.js'
import { Broken, type Target } from './target.js'

/** A model whose weight is stored as codes already, and one with a loop. */
function others(): Uint8Array<ArrayBuffer>[] {
  const weight = { dtype: 'int8', shape: [64, 48], data: Int8Array.from({ length: 64 * 48 }, (_, i) => (i * 37) % 255 - 127) } as const
  const coded = graph({
    nodes: [node('DequantizeLinear', ['wq', 's', 'z'], ['w'], { axis: 1 }), node('MatMul', ['x', 'w'], ['h']), node('QuantizeLinear', ['h', 'as', 'az'], ['q']), node('DequantizeLinear', ['q', 'as', 'az'], ['d']), node('MatMul', ['d', 'v'], ['y'])],
    inputs: [valueInfo('x', 'float32', [4, 64])], outputs: [valueInfo('y', 'float32')],
    initializers: [
      hostToTensor('wq', weight), hostToTensor('s', { dtype: 'float32', shape: [48], data: new Float32Array(48).fill(0.01) }), hostToTensor('z', { dtype: 'int8', shape: [48], data: new Int8Array(48) }),
      hostToTensor('as', { dtype: 'float32', shape: [], data: Float32Array.of(0.1) }), hostToTensor('az', { dtype: 'uint8', shape: [], data: Uint8Array.of(128) }), hostToTensor('v', randomTensor([48, 32], 3)),
    ],
  })
  const body = graph({ nodes: [node('MatMul', ['state', 'w'], ['m']), node('Tanh', ['m'], ['next']), node('Identity', ['going'], ['on'])], inputs: [valueInfo('i', 'int64', []), valueInfo('going', 'bool', []), valueInfo('state', 'float32', [4, 32])], outputs: [valueInfo('on'), valueInfo('next')], initializers: [] })
  const loop = graph({
    nodes: [node('Loop', ['trips', '', 'x'], ['l'], { body }), node('Gemm', ['l', 'w', 'b'], ['y'], {})], inputs: [valueInfo('x', 'float32', [4, 32])], outputs: [valueInfo('y', 'float32')],
    initializers: [hostToTensor('trips', { dtype: 'int64', shape: [], data: BigInt64Array.of(3n) }), hostToTensor('w', randomTensor([32, 32], 1, 0.2)), hostToTensor('b', randomTensor([32], 2))],
  })
  return [writeOnnx(model(coded, { '': 17 }, 8)), writeOnnx(model(loop, { '': 17 }, 8))]
}

const MODES: readonly (readonly [options: Partial<QuantizeOptions>, calibrated: boolean])[] = [
  [{ format: 'dequantize', weights: int8() }, false],
  [{ format: 'dequantize', weights: int4({ group: 16 }) }, false],
  [{ format: 'dequantize', weights: uint4({ group: 32 }), settings: { expand: 'load' } }, false],
  [{ format: 'matmul-nbits', weights: int4({ group: 16 }) }, false],
  [{ format: 'matmul-nbits', weights: uint4({ group: 32 }), rounding: gptq() }, true],
  [{ format: 'dynamic', weights: int8() }, false],
  [{ format: 'qdq', weights: int8(), activations: { dtype: 'uint8', method: 'minmax' } }, true],
  [{ format: 'qdq', weights: int8(), activations: { dtype: 'uint16', method: 'mse', operators: 'all', rescue: false } }, true],
  [{ format: 'qoperator', weights: int8(), activations: { dtype: 'uint8', rescue: false } }, true],
]

/** Inputs with more values than this are not made up: it is lowbit that is tried, not the runtime. */
const MOST_VALUES = 1 << 16

/** Parse, open, quantize, load what was written, run both. */
export function onnxTarget(): Target {
  const seeds = [...[7, 11, 13, 17, 21, 23].flatMap((opset) => [sequences(opset, 'float32').bytes, pictures(opset, 'float32').bytes]), sequences(17, 'float16').bytes, pictures(21, 'float16').bytes, matrices().bytes, convolutions().bytes, tied().bytes, ...others()]
  return {
    name: 'onnx',
    weight: 5,
    extension: 'onnx',
    make(dice) {
      const seed = dice.pick(seeds)
      if (dice.chance(0.12)) return mutateBytes(seed, dice)
      try {
        const bytes = writeOnnx(mutateOnnx(seed, dice))
        return dice.chance(0.05) ? mutateBytes(bytes, dice, 1) : bytes
      } catch {
        // What no message can hold is written as bytes that are none.
        return mutateBytes(seed, dice)
      }
    },
    async run(bytes, dice, at) {
      at('parse')
      readOnnx(bytes)
      at('open')
      const [options, calibrated] = dice.pick(MODES)
      const host = await openOnnx(bytes, { prepare: dice.chance(0.3) })
      try {
        at(`quantize ${options.format ?? ''}`)
        const batch = batchFor(host.inputs(), dice)
        if (calibrated && batch === undefined) return 'no data'
        const { artifact } = await quantize(host, { weights: int8(), ...options, ...(calibrated && batch !== undefined ? { calibration: [batch, batch] } : {}) })
        at('write')
        const written = artifact.bytes()
        at('run')
        return batch === undefined || !(await runs(bytes, batch)) ? 'written' : await mustRun(written, batch, options.format ?? '')
      } finally {
        await host.dispose()
      }
    },
  }
}

/** Whether the runtime takes the model, optimized or not: with some damaged ones it runs what its optimizer made of them alone. */
async function runs(bytes: Uint8Array<ArrayBuffer>, batch: Batch): Promise<boolean> {
  for (const graphOptimizationLevel of ['all', 'disabled'] as const) {
    let host: OnnxHost | undefined
    try {
      host = await openOnnx(bytes, { sessionOptions: { graphOptimizationLevel } })
      await host.run(batch, { model: 'original' })
    } catch (error) {
      if (isLowbitError(error) && error.code !== 'LOWBIT_INTERNAL') return false
      throw error
    } finally {
      await host?.dispose()
    }
  }
  return true
}

/** What the runtime could do with the model it can do with the smaller one. */
async function mustRun(written: Uint8Array<ArrayBuffer>, batch: Batch, format: string): Promise<string> {
  const small = await openOnnx(written)
  try {
    await small.run(batch)
    return 'run'
  } catch (error) {
    if (isLowbitError(error, 'LOWBIT_RUNTIME') || isLowbitError(error, 'LOWBIT_DATA')) throw new Broken('unloadable', `the model runs, written as ${format} it does not: ${error.message}`, error)
    throw error
  } finally {
    await small.dispose()
  }
}

/** Data of the types and shapes that the inputs have; undefined where that would be large, or no type is known. */
function batchFor(inputs: readonly TensorRef[], dice: Dice): Batch | undefined {
  const batch: Record<string, HostTensor> = {}
  for (const { name, dtype, shape = [2, 2] } of inputs) {
    const dims = shape.map((d) => (typeof d === 'number' ? d : 2))
    if (dtype === undefined || dims.some((d) => d < 0) || dims.reduce((a, b) => a * b, 1) > MOST_VALUES) return undefined
    const count = elementCount(dims)
    const values = Array.from({ length: count }, () => dice.next() * 2 - 1)
    const tensor = tensorOf(dtype, dims, values)
    if (tensor === undefined) return undefined
    Object.defineProperty(batch, name, { value: tensor, enumerable: true, configurable: true })
  }
  return batch
}

function tensorOf(dtype: NonNullable<TensorRef['dtype']>, shape: readonly number[], values: readonly number[]): HostTensor | undefined {
  switch (dtype) {
    case 'float32': return { dtype, shape, data: Float32Array.from(values) }
    case 'float64': return { dtype, shape, data: Float64Array.from(values) }
    case 'float16': return { dtype, shape, data: Uint16Array.from(values, (v) => (v < 0 ? 0x8000 : 0) | (0x3000 + Math.floor(Math.abs(v) * 0x800))) }
    case 'int64': return { dtype, shape, data: BigInt64Array.from(values, (v) => BigInt(Math.floor(Math.abs(v) * 4))) }
    case 'int32': return { dtype, shape, data: Int32Array.from(values, (v) => Math.floor(Math.abs(v) * 4)) }
    case 'bool': case 'uint8': return bytesPerElement(dtype) === 1 ? ({ dtype, shape, data: Uint8Array.from(values, (v) => (v > 0 ? 1 : 0)) } as HostTensor) : undefined
    default: return undefined
  }
}
