import { openOnnx } from '@lowbit/backend-ort'
import { hqq } from '@lowbit/algos-hqq'
import { int4, int8, quantize, rtn, uint4, type QuantizeOptions } from '@lowbit/core'
import { ocr, stories, type BenchModel, type Run, type Scores } from '../models/index.ts'
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
  { name: 'int4 g32 searched scale and zero point (default of the command)', options: { format: 'matmul-nbits', weights: int4({ group: 32, symmetric: false }), rounding: rtn({ range: 'search' }), ...matmuls }, target: '' },
  { name: 'int4 g32 searched scale, float zero points', options: { format: 'matmul-nbits', weights: { ...uint4({ group: 32 }), zeroPoint: 'float' }, rounding: rtn({ range: 'search' }), ...matmuls }, target: '' },
  { name: 'int4 g32 HQQ', options: { format: 'matmul-nbits', weights: { ...uint4({ group: 32 }), zeroPoint: 'float' }, rounding: hqq({ start: 'rounded', padding: 'zeros', keep: 'last' }), ...matmuls }, target: '≤ 4.187' },
]

const OCR: readonly Row[] = [
  { name: 'int8 weights', options: { format: 'dequantize', weights: int8() }, target: '≤ 0.5 %' },
  { name: 'dynamic int8', options: { format: 'dynamic', weights: int8() }, target: '≤ 0.5 %' },
  { name: 'int4 per channel', options: { format: 'dequantize', weights: int4() }, target: '' },
  { name: 'int4 g32', options: { format: 'dequantize', weights: int4({ group: 32 }) }, target: '' },
  { name: 'int4 g32 searched scale', options: { format: 'dequantize', weights: int4({ group: 32 }), rounding: rtn({ range: 'search' }) }, target: '' },
  { name: 'int4 g32 searched scale and zero point (default of the command)', options: { format: 'dequantize', weights: int4({ group: 32, symmetric: false }), rounding: rtn({ range: 'search' }) }, target: '' },
  { name: 'int4 g32 HQQ', options: { format: 'dequantize', weights: uint4({ group: 32 }), rounding: hqq({}) }, target: '' },
]

/** What needs no data: weight-only and dynamic quantization. */
export const firstLight: EvidenceModule = {
  name: 'first-light',
  async run(log) {
    return [
      await table('stories-weights', 'stories260K without data', 'perplexity on the first 40 stories, MatMul sites', stories(), STORIES, (s) => s.perplexity.toFixed(3), log),
      await table('ocr-weights', 'Text recognition without data', 'character error rate on 120 rendered lines', await ocr(), OCR, (s) => `${(100 * s.errorRate).toFixed(2)} %`, log),
    ]
  },
}

async function table(id: string, title: string, note: string, model: BenchModel, rows: readonly Row[], show: (scores: Scores) => string, log: (line: string) => void): Promise<EvidenceTable> {
  const float = await openOnnx(model.path)
  const runFloat: Run = (batch) => float.run(batch)
  const cells: (string | number)[][] = [['float32', '100 %', show(await model.evaluate(runFloat, runFloat)), '']]
  for (const { name, options, target } of rows) {
    const host = await openOnnx(model.path)
    const { artifact } = await quantize(host, options)
    await host.dispose()
    const quantized = await openOnnx(artifact.bytes())
    const value = show(await model.evaluate(runFloat, (batch) => quantized.run(batch)))
    await quantized.dispose()
    cells.push([name, `${((100 * artifact.size) / float.size()).toFixed(1)} %`, value, target])
    log(`${title}: ${name} ${value}`)
  }
  await float.dispose()
  return { id, title, note, columns: ['weights', 'size', note.split(' on ')[0], 'to reach'], rows: cells }
}
