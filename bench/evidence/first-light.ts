import { openOnnx } from '@lowbit/backend-ort'
import { hqq } from '@lowbit/algos-hqq'
import { int4, int8, quantize, rtn, uint4, type Batch, type QuantizeOptions } from '@lowbit/core'
import { ocrErrorRate, ocrPath, TEST_LINES } from '../models/ocr.ts'
import { needSharedData } from '../models/shared.ts'
import { storyPerplexity, TEST_STORIES } from '../models/stories.ts'
import type { EvidenceModule, EvidenceTable } from './types.ts'

interface Row {
  readonly name: string
  readonly options: QuantizeOptions
  /** What is to be reached, as text. */
  readonly target: string
}

/** MatMul sites alone, as the reference figures were taken. */
const matmuls = { exclude: ['*Gather*'] }

const STORIES: readonly Row[] = [
  { name: 'dynamic int8', options: { format: 'dynamic', weights: int8(), ...matmuls }, target: '≤ 3.864' },
  { name: 'int4 g32 symmetric', options: { format: 'matmul-nbits', weights: int4({ group: 32 }), ...matmuls }, target: '4.275' },
  { name: 'int4 g32 asymmetric', options: { format: 'matmul-nbits', weights: uint4({ group: 32 }), ...matmuls }, target: '4.230' },
  { name: 'int4 g32 searched scale', options: { format: 'matmul-nbits', weights: int4({ group: 32 }), rounding: rtn({ range: 'search' }), ...matmuls }, target: '' },
  { name: 'int4 g32 HQQ', options: { format: 'matmul-nbits', weights: uint4({ group: 32 }), rounding: hqq({}), ...matmuls }, target: '≤ 4.187' },
]

const OCR: readonly Row[] = [
  { name: 'int8 weights', options: { format: 'dequantize', weights: int8() }, target: '≤ 0.5 %' },
  { name: 'dynamic int8', options: { format: 'dynamic', weights: int8() }, target: '≤ 0.5 %' },
  { name: 'int4 per channel', options: { format: 'dequantize', weights: int4() }, target: '' },
  { name: 'int4 g32', options: { format: 'dequantize', weights: int4({ group: 32 }) }, target: '' },
  { name: 'int4 g32 searched scale', options: { format: 'dequantize', weights: int4({ group: 32 }), rounding: rtn({ range: 'search' }) }, target: '' },
  { name: 'int4 g32 HQQ', options: { format: 'dequantize', weights: uint4({ group: 32 }), rounding: hqq({}) }, target: '' },
]

/** What needs no data: weight-only and dynamic quantization. */
export const firstLight: EvidenceModule = {
  name: 'first-light',
  async run(log) {
    const stories = needSharedData('stories260K.onnx')
    const perplexity = (x: number): string => x.toFixed(3)
    const rate = (x: number): string => `${(100 * x).toFixed(2)} %`
    return [
      await table('stories-weights', 'stories260K without data', `perplexity on ${TEST_STORIES} stories, MatMul sites`, stories, STORIES, storyPerplexity, perplexity, log),
      await table('ocr-weights', 'Text recognition without data', `character error rate on ${TEST_LINES} rendered lines`, await ocrPath(), OCR, ocrErrorRate, rate, log),
    ]
  },
}

async function table(id: string, title: string, note: string, model: string, rows: readonly Row[], metric: (run: (batch: Batch) => Promise<Batch>) => Promise<number>, show: (x: number) => string, log: (line: string) => void): Promise<EvidenceTable> {
  const float = await openOnnx(model)
  const cells: (string | number)[][] = [['float32', '100 %', show(await metric((b) => float.run(b))), '']]
  const size = float.size()
  await float.dispose()
  for (const { name, options, target } of rows) {
    const host = await openOnnx(model)
    const { artifact } = await quantize(host, options)
    await host.dispose()
    const quantized = await openOnnx(artifact.bytes())
    const value = show(await metric((b) => quantized.run(b)))
    await quantized.dispose()
    cells.push([name, `${((100 * artifact.size) / size).toFixed(1)} %`, value, target])
    log(`${title}: ${name} ${value}`)
  }
  return { id, title, note, columns: ['weights', 'size', note.split(' on ')[0], 'to reach'], rows: cells }
}
