import { int2, int3, int4, weightScheme, type Scheme } from '@lowbit/core'
import { ocrModel, recognise } from '../../packages/cli/src/demo/recognise.js'
import { renderLines } from '../../packages/cli/src/demo/render.js'
import { mnist, squeezenet, stories, type BenchModel, type Scores } from '../models/index.ts'
import { DEFAULT, METHODS, pick, type Method } from './methods.ts'

export interface Column {
  readonly title: string
  readonly scheme: Scheme
}

/** A model with the schemes and methods that are tried on it. */
export interface Task {
  readonly id: string
  readonly title: string
  readonly note: string
  readonly model: BenchModel
  readonly columns: readonly Column[]
  readonly methods: Readonly<Record<string, Method>>
  readonly exclude: readonly string[]
  /** What the command would write groups as. */
  readonly format: string
  readonly show: (scores: Scores) => string
  /** Reference figures by column, as text. */
  readonly targets: readonly string[]
}

/** Lines of the recognition model: the same as its demo renders. */
const TEST_LINES = 120
const CALIBRATION_LINES = 16

const group = 32
const percent = (share: number, digits = 1): string => `${(100 * share).toFixed(digits)} %`

export async function storiesTask(): Promise<Task> {
  return {
    id: 'ptq-stories',
    title: 'stories260K after calibration',
    note: 'Perplexity on the first 40 stories, calibrated on the next 64; 36 MatMul sites; groups of 32 unless said. “+s”: scales searched through the Gram matrix; refined: codes and scales by turns afterwards; towards the float model: half of what the rounded layers before have changed is taken back',
    model: stories(64),
    columns: [
      { title: 'int4', scheme: int4({ group }) },
      { title: 'int4, groups of 128', scheme: int4({ group: 128 }) },
      { title: 'int4 per channel', scheme: int4() },
      { title: 'int3', scheme: int3({ group }) },
      { title: 'int3 asymmetric', scheme: weightScheme('uint3', { group, symmetric: false }) },
      { title: 'int2 asymmetric', scheme: weightScheme('uint2', { group, symmetric: false }) },
    ],
    methods: METHODS,
    exclude: ['*Gather*'],
    format: 'matmul-nbits',
    show: (s) => s['perplexity'].toFixed(3),
    targets: ['4.109 (best 4.050)', '', '', '5.97', '(best 5.277)', '(best 39.7)'],
  }
}

export async function ocrTask(): Promise<Task> {
  const { path, characters } = await ocrModel()
  const lines = await renderLines(TEST_LINES, 1)
  return {
    id: 'ptq-ocr',
    title: 'Text recognition after calibration',
    note: `Character error rate on ${TEST_LINES} rendered lines, calibrated on ${CALIBRATION_LINES} others; every Conv and MatMul site`,
    model: {
      name: 'ocr-recognition',
      path,
      calibration: async () => (await renderLines(CALIBRATION_LINES, 2)).map(({ image }) => ({ x: image })),
      evaluate: async (_, quantized) => ({ errorRate: (await recognise(lines, characters, quantized)).errorRate }),
    },
    columns: [
      { title: 'int4 per channel', scheme: int4() },
      { title: 'int4, groups of 128', scheme: int4({ group: 128 }) },
      { title: 'int4, groups of 32', scheme: int4({ group }) },
      { title: 'int3, groups of 32', scheme: int3({ group }) },
      { title: 'int2 asymmetric, groups of 32', scheme: weightScheme('uint2', { group, symmetric: false }) },
    ],
    methods: pick('round to nearest', 'HQQ of the command', 'GPTQ', 'GPTQ, act-order', 'GPTQ +s', 'GPTQ +s, act-order', 'GPTQ +s, refined', DEFAULT, 'default, sequential', 'AWQ', 'AWQ → GPTQ +s', 'rotate → GPTQ +s'),
    exclude: [],
    format: 'dequantize',
    show: (s) => percent(s['errorRate'], 2),
    targets: ['0.49 % (+s 0.14 %)', '', '+s 0.10 %', '+s 1.05 %', ''],
  }
}

export async function squeezenetTask(): Promise<Task> {
  return {
    id: 'ptq-squeezenet',
    title: 'SqueezeNet 1.1 after calibration',
    note: 'Top-1 on the labels of 200 pictures, agreement with the float model’s top-1, and output signal over noise; calibrated on 100 others',
    model: squeezenet(),
    columns: [{ title: 'int4 per channel', scheme: int4() }],
    methods: pick('round to nearest', 'searched scale, Gram-weighted', 'HQQ of the command', 'GPTQ', 'GPTQ, act-order', 'GPTQ +s', 'GPTQ +s, act-order', 'GPTQ +s, refined', DEFAULT, 'default, sequential'),
    exclude: [],
    format: 'dequantize',
    show: (s) => `${percent(s['accuracy'])}, ${percent(s['agreement'])}, ${s['decibels'].toFixed(1)} dB`,
    targets: ['top-1 on 500 pictures: 30.4 rounded, 56-58 GPTQ, 59.6 act-order, of 62.0 in float'],
  }
}

export async function mnistTask(): Promise<Task> {
  return {
    id: 'ptq-mnist',
    title: 'MNIST CNN after calibration',
    note: 'Accuracy on the labels of 5000 digits, and agreement with the float model; calibrated on 100 others',
    model: mnist(),
    columns: [
      { title: 'int2 per channel', scheme: int2() },
      { title: 'int2 asymmetric per channel', scheme: weightScheme('uint2', { symmetric: false }) },
      { title: 'int3 per channel', scheme: int3() },
      { title: 'int4 per channel', scheme: int4() },
    ],
    methods: pick('round to nearest', 'searched scale, Gram-weighted', 'HQQ of the command', 'GPTQ', 'GPTQ, act-order', 'GPTQ +s', 'GPTQ +s, act-order', 'GPTQ +s, refined', DEFAULT, 'default, sequential'),
    exclude: [],
    format: 'dequantize',
    show: (s) => `${percent(s['accuracy'], 2)}, ${percent(s['agreement'], 2)}`,
    targets: ['accuracy 78.4 rounded, +s 99.0', '', '', ''],
  }
}
