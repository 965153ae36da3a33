import { beforeAll, describe, expect, it } from 'vitest'
import { openLayersModel } from '../src/index.js'
import { tf, useBackend } from './load-tf.js'

beforeAll(() => useBackend('cpu'))

/** What someone without types may write, and what the message says. */
const WRONG: readonly (readonly [string, object, RegExp])[] = [
  ['a misspelt key', { foldBatchnorms: false }, /openLayersModel\(\{ foldBatchnorms \}\).*did you mean foldBatchNorm/s],
  ['a flag that is text', { foldBatchNorm: 'no' }, /openLayersModel\(\{ foldBatchNorm \}\).*true or false/s],
  ['a value in place of a function', { during: true }, /openLayersModel\(\{ during \}\).*a function/s],
]

describe('options of openLayersModel', () => {
  it.each(WRONG)('%s is refused', async (_, options, message) => {
    const model = tf.sequential({ layers: [tf.layers.dense({ units: 2, inputShape: [3] })] })
    await expect(openLayersModel(tf, model, options)).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
    await expect(openLayersModel(tf, model, options)).rejects.toThrow(message)
  })
})
