import { describe, expect, it } from 'vitest'
import { openOnnxGraph } from '@lowbit/onnx'
import { compareModels, openOnnx } from '../src/index.js'
import { matrices, normed } from './support/models.js'

const { bytes } = matrices()
const opened = (options: object): Promise<unknown> => openOnnx(bytes, options)

async function compared(options: object): Promise<unknown> {
  const host = await openOnnx(normed().bytes)
  try {
    return await compareModels(host, host, [normed().batch], options)
  } finally {
    await host.dispose()
  }
}

/** What someone without types may write: where it is refused, and what the message says. */
const WRONG: readonly (readonly [string, () => Promise<unknown>, RegExp])[] = [
  ['a misspelt key of openOnnx', () => opened({ perpare: true }), /openOnnx\(\{ perpare \}\).*did you mean prepare/s],
  ['a session option beside the others', () => opened({ executionProviders: ['cpu'] }), /openOnnx\(\{ executionProviders \}\)/],
  ['a runtime by name', () => opened({ ort: 'onnxruntime-web' }), /openOnnx\(\{ ort \}\).*InferenceSession/s],
  ['prepare that is text', () => opened({ prepare: 'yes' }), /openOnnx\(\{ prepare \}\)/],
  ['a misspelt key of prepare', () => opened({ prepare: { opsets: 17 } }), /openOnnx\(\{ prepare\.opsets \}\).*did you mean opset/s],
  ['an opset below 1', () => opened({ prepare: { opset: 0 } }), /openOnnx\(\{ prepare\.opset \}\).*at least 1/s],
  ['data by path', () => opened({ externalData: 'model.data' }), /openOnnx\(\{ externalData \}\)/],
  ['a misspelt key of openOnnxGraph', () => openOnnxGraph(bytes, { externaldata: {} } as never), /openOnnxGraph\(\{ externaldata \}\).*did you mean externalData/s],
  ['data by path of a graph', () => openOnnxGraph(bytes, { externalData: 'model.data' } as never), /openOnnxGraph\(\{ externalData \}\)/],
  ['a misspelt key of compareModels', () => compared({ layer: true }), /compareModels\(\{ layer \}\)/],
  ['a flag that is a number', () => compared({ latency: 1 }), /compareModels\(\{ latency \}\).*true or false/s],
  ['no batches to rank by', () => compared({ layers: true, layerBatches: 0 }), /compareModels\(\{ layerBatches \}\).*at least 1/s],
  ['batches for a ranking that nobody asked for', () => compared({ layerBatches: 4 }), /compareModels\(\{ layerBatches \}\).*does nothing/s],
]

describe('options of opening and comparing', () => {
  it.each(WRONG)('%s is refused', async (_, run, message) => {
    await expect(run()).rejects.toMatchObject({ code: 'LOWBIT_ARGUMENT' })
    await expect(run()).rejects.toThrow(message)
  })

  it('takes files by name in an object and in a map', async () => {
    for (const externalData of [{}, new Map<string, Uint8Array>()]) await (await openOnnxGraph(bytes, { externalData })).dispose()
  })
})
