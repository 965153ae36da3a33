import { openLayersModel } from '@lowbit/backend-tfjs'
import { quantize, rtn, type Batch } from '@lowbit/core'
import type { LayersModel } from '@tensorflow/tfjs-layers'
import { gather, type Digits } from './digits.js'
import type { Tf } from './load-tf.js'
import type { AfterTraining } from './rows.js'
import { correct } from './training.js'

/** Quantizes a trained model without training, and measures it: percent right. */
export async function quantizeAfter(tf: Tf, model: LayersModel, method: AfterTraining, calibration: Digits, test: Digits): Promise<number> {
  const host = await openLayersModel(tf, model)
  const [input] = host.inputs()
  const [output] = host.outputs()
  const batch = (digits: Digits, indices: readonly number[]): Batch => ({ [input.name]: { dtype: 'float32', shape: [indices.length, 28, 28, 1], data: gather(digits, indices) } })
  const every = Array.from({ length: 256 }, (_, i) => Math.floor((i * calibration.count) / 256))
  await quantize(host, {
    weights: method.weights,
    rounding: rtn({ range: method.range }),
    ...(method.activations === true ? { activations: { dtype: 'int8' }, calibration: [batch(calibration, every)] } : {}),
  })
  let right = 0
  for (let start = 0; start < test.count; start += 500) {
    const indices = Array.from({ length: Math.min(500, test.count - start) }, (_, i) => start + i)
    const { [output.name]: logits } = await host.run(batch(test, indices))
    right += correct(Float32Array.from(logits.data, Number), test.labels.subarray(start, start + indices.length))
  }
  await host.dispose()
  return (100 * right) / test.count
}
