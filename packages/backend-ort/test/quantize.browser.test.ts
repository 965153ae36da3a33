import * as ort from 'onnxruntime-web'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { int4, int8, quantize, tensor, type Batch } from '@lowbit/core'
import { compareModels, openOnnx } from '@lowbit/backend-ort'
import { matrices } from './support/models.js'

declare module 'vitest' {
  interface ProvidedContext {
    sharedUrl: string
  }
}

const shared = inject('sharedUrl')

beforeAll(() => {
  ort.env.wasm.numThreads = 1
  ort.env.wasm.wasmPaths = new URL('/node_modules/onnxruntime-web/dist/', location.href).href
})

async function bytesOf(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const response = await fetch(`${shared}data/${name}`)
  if (!response.ok) throw new Error(`${name}: ${response.status}`)
  return new Uint8Array(await response.arrayBuffer())
}

/** Centre crop of 224, ImageNet's mean and deviation, NCHW: what the model was trained with. */
async function imageBatch(folder: string, name: string): Promise<Batch> {
  const bitmap = await createImageBitmap(new Blob([await bytesOf(`imagenet-sample/${folder}/${name}`)], { type: 'image/jpeg' }))
  const side = 224
  const context = new OffscreenCanvas(side, side).getContext('2d')
  if (context === null) throw new Error('no 2d canvas')
  context.drawImage(bitmap, -((bitmap.width - side) >> 1), -((bitmap.height - side) >> 1))
  const pixels = context.getImageData(0, 0, side, side).data
  const plane = side * side
  const data = new Float32Array(3 * plane)
  const mean = [0.485, 0.456, 0.406]
  const deviation = [0.229, 0.224, 0.225]
  for (let c = 0; c < 3; c++) for (let p = 0; p < plane; p++) data[c * plane + p] = (pixels[p * 4 + c] / 255 - mean[c]) / deviation[c]
  return { data: tensor('float32', [1, 3, side, side], data) }
}

const numbers = (from: number, count: number): string[] => Array.from({ length: count }, (_, i) => `${String(from + i * 10).padStart(4, '0')}.jpg`)

describe('in a browser, on onnxruntime-web', () => {
  it.each([
    ['matmul-nbits', int4({ group: 16 })],
    ['dequantize', int8()],
    ['dynamic', int8()],
  ])('quantizes bytes to bytes: %s', async (format, weights) => {
    const small = matrices()
    const host = await openOnnx(small.bytes, { ort })
    const { artifact } = await quantize(host, { format, weights })
    const candidate = await openOnnx(artifact.bytes(), { ort })
    const { outputs } = await compareModels(await openOnnx(small.bytes, { ort }), candidate, [small.batch])
    expect(outputs[0].sqnr).toBeGreaterThan(format === 'matmul-nbits' ? 12 : 25)
    await expect(artifact.save('somewhere.onnx')).rejects.toThrow(/LOWBIT_/)
  })

  it.skipIf(shared === '')('makes mnist-cnn (opset 8) static int8 (needs ../shared beside the checkout)', async () => {
    const bytes = await bytesOf('mnist-cnn.onnx')
    const strokes = (seed: number): Batch => ({
      Input3: tensor('float32', [1, 1, 28, 28], Float32Array.from({ length: 784 }, (_, i) => (Math.abs((i % 28) - 9 - (seed % 7)) < 2 || Math.abs(Math.floor(i / 28) - 8 - (seed % 5)) < 2 ? 200 : 0))),
    })
    const host = await openOnnx(bytes, { ort, prepare: true })
    const { artifact } = await quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' }, calibration: Array.from({ length: 12 }, (_, i) => strokes(i)) })
    const { outputs } = await compareModels(await openOnnx(bytes, { ort }), await openOnnx(artifact.bytes(), { ort }), Array.from({ length: 8 }, (_, i) => strokes(i + 100)))
    expect(outputs[0].top1).toBe(1)
    expect(outputs[0].sqnr).toBeGreaterThan(25)
  })

  it.skipIf(shared === '')('calibrates, quantizes and compares squeezenet (needs ../shared beside the checkout)', async () => {
    const bytes = await bytesOf('squeezenet1.1.onnx')
    const calibration = await Promise.all(numbers(1, 12).map((n) => imageBatch('calibration', n)))
    const test = await Promise.all(numbers(3, 12).map((n) => imageBatch('test', n)))
    const host = await openOnnx(bytes, { ort, prepare: true })
    const { artifact } = await quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' }, calibration })
    const comparison = await compareModels(await openOnnx(bytes, { ort }), await openOnnx(artifact.bytes(), { ort }), test)
    expect(artifact.size / bytes.length).toBeLessThan(0.27)
    expect(comparison.outputs[0].sqnr).toBeGreaterThan(28)
    expect(comparison.outputs[0].top1).toBeGreaterThan(0.8)
  })
})
