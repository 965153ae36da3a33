import { statSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Artifact, Batch, HostTensor } from '@lowbit/core'
import { hostSuite, type ReopenedModel } from '@lowbit/core/testkit'
import { readOnnx, tensorBytes, tensorShape } from '@lowbit/formats'
import type { Tensor } from '@tensorflow/tfjs-core'
import type { LayersModel } from '@tensorflow/tfjs-layers'
import * as ort from 'onnxruntime-node'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { openLayersModel, readLayersArtifact, registerWasmGradients, type WasmGradients } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'
import { branches, everyLayer, tokens } from './models.js'

let registered: WasmGradients
beforeAll(async () => {
  await useBackend('wasm')
  registered = await registerWasmGradients(tf)
})
afterAll(() => registered.restore())

const skips: string[] = []
const runner = { describe, it }
const onSkip = ({ test, reason }: { test: string; reason: string }): void => void skips.push(`${test}: ${reason}`)

const image = (seed: number, rows = 5): HostTensor => ({ dtype: 'float32', shape: [rows, 8, 8, 3], data: Float32Array.from({ length: rows * 192 }, (_, i) => Math.sin(i * 0.37 + seed) + ((i * 7919) % 13) / 13) })

const suite = (open: () => LayersModel, batches: readonly Batch[], cases: (index: number) => boolean): void =>
  hostSuite({ runner, onSkip, factory: () => openLayersModel(tf, open()), batches, reopen: reopened, bound: BOUND, cases })

describe('every kind of layer', () => suite(everyLayer, [{ image: image(1) }, { image: image(2) }], () => true))
describe('branches, sums, LayerNorm', () => suite(branches, [{ vector: vector(1) }, { vector: vector(2) }], (i) => i % 2 === 0))
describe('embedding and attention-like products', () => suite(tokens, [{ table_input: ids(1) }, { table_input: ids(2) }], (i) => i % 2 === 1))

/**
 * Of the largest output. Weights are the same bits; sums have another order in another engine, and where activations are rounded a
 * value on the edge between two codes falls to the other side.
 */
const BOUND = 0.03

/**
 * ONNX Runtime turns int4 weights before a MatMul into MatMulNBits, and there rounds activations to int8 unless told not to; on x86
 * without VNNI its int8 products saturate in 16 bits unless told not to.
 */
const EXACT = { extra: { session: { qdq_matmulnbits_accuracy_level: '1', x64quantprecision: '1' } } }

async function reopened(artifact: Artifact): Promise<ReopenedModel> {
  return artifact.format === 'layers' ? reopenedLayers(artifact) : reopenedOnnx(artifact.bytes())
}

async function reopenedOnnx(bytes: Uint8Array): Promise<ReopenedModel> {
  const session = await ort.InferenceSession.create(bytes, EXACT)
  const graph = readOnnx(bytes).graph
  return {
    tensors: (graph?.initializer ?? []).map((t) => ({ shape: tensorShape(t), bytes: tensorBytes(t) })),
    async run(batch) {
      const feeds = Object.fromEntries(Object.entries(batch).map(([name, { data, shape }]) => {
        const isWhole = session.inputMetadata.some((i) => i.name === name && i.isTensor && i.type === 'int32')
        return [name, isWhole ? new ort.Tensor('int32', Int32Array.from(data, Number), shape) : new ort.Tensor('float32', Float32Array.from(data, Number), shape)]
      }))
      const out = await session.run(feeds)
      return Object.fromEntries(Object.entries(out).map(([name, { dims, data }]) => [name, { dtype: 'float32' as const, shape: dims, data: Float32Array.from(data as Float32Array) }]))
    },
    dispose: () => session.release(),
  }
}

async function reopenedLayers(artifact: Artifact): Promise<ReopenedModel> {
  const artifacts = readLayersArtifact(artifact.bytes())
  const folder = await mkdtemp(join(tmpdir(), 'lowbit-layers-'))
  await artifact.save(join(folder, 'model.json'))
  const size = (await readdir(folder)).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
  await rm(folder, { recursive: true })
  const model = await tf.loadLayersModel(tf.io.fromMemory(artifacts))
  const bytesOf = ({ shape, quantization }: { shape: number[]; quantization?: { dtype: string } }): number => shape.reduce((a, b) => a * b, 1) * ({ uint8: 1, uint16: 2 }[quantization?.dtype ?? ''] ?? 4)
  return {
    size,
    tensors: (artifacts.weightSpecs ?? []).map((spec) => ({ shape: spec.shape, bytes: bytesOf(spec) })),
    async run(batch) {
      const [{ dtype, data, shape }] = Object.values(batch)
      const y = tf.tidy(() => model.predict(tf.tensor(dtype === 'int32' ? Int32Array.from(data, Number) : Float32Array.from(data, Number), [...shape], dtype === 'int32' ? 'int32' : 'float32')) as Tensor)
      const value = { dtype: 'float32' as const, shape: y.shape, data: Float32Array.from(y.dataSync<'float32'>()) }
      y.dispose()
      return { [model.outputNames[0]]: value }
    },
    dispose: async () => void model.dispose(),
  }
}

function vector(seed: number): HostTensor {
  return { dtype: 'float32', shape: [6, 10], data: Float32Array.from({ length: 60 }, (_, i) => Math.cos(i * 0.71 + seed)) }
}

function ids(seed: number): HostTensor {
  return { dtype: 'int32', shape: [4, 6], data: Int32Array.from({ length: 24 }, (_, i) => (i * 7 + seed) % 12) }
}

