import { hostSuite } from '@lowbit/core/testkit'
import type { HostTensor } from '@lowbit/core'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { openLayersModel, registerWasmGradients, type WasmGradients } from '../src/index.js'
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

describe('every kind of layer', () => hostSuite({ runner, onSkip, factory: () => openLayersModel(tf, everyLayer()), batches: [{ image: image(1) }, { image: image(2) }] }))
describe('branches, sums, LayerNorm', () => hostSuite({ runner, onSkip, factory: () => openLayersModel(tf, branches()), batches: [{ vector: vector(1) }, { vector: vector(2) }] }))
describe('embedding and attention-like products', () => hostSuite({ runner, onSkip, factory: () => openLayersModel(tf, tokens()), batches: [{ table_input: ids(1) }, { table_input: ids(2) }] }))

function vector(seed: number): HostTensor {
  return { dtype: 'float32', shape: [6, 10], data: Float32Array.from({ length: 60 }, (_, i) => Math.cos(i * 0.71 + seed)) }
}

function ids(seed: number): HostTensor {
  return { dtype: 'int32', shape: [4, 6], data: Int32Array.from({ length: 24 }, (_, i) => (i * 7 + seed) % 12) }
}

