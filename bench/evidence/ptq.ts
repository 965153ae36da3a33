import { createHash } from 'node:crypto'
import { awq } from '@lowbit/algos-awq'
import { gptq } from '@lowbit/algos-gptq'
import { hqq } from '@lowbit/algos-hqq'
import { rotate } from '@lowbit/algos-rotate'
import { openOnnx } from '@lowbit/backend-ort'
import { int2, int3, int4, quantize, rtn, uint4, weightScheme, type QuantizeOptions, type Scheme } from '@lowbit/core'
import { ocrModel, recognise } from '../../packages/cli/src/demo/recognise.js'
import { renderLines } from '../../packages/cli/src/demo/render.js'
import { mnist, squeezenet, stories, type BenchModel, type Run, type Scores } from '../models/index.ts'
import { StatisticsCache } from './cached-statistics.ts'
import type { EvidenceModule, EvidenceTable } from './types.ts'

/** What is done to a model before and while it is rounded. */
type Method = Pick<QuantizeOptions, 'rounding' | 'transforms' | 'mode'>

interface Column {
  readonly title: string
  readonly scheme: Scheme
}

interface Task {
  readonly id: string
  readonly title: string
  readonly note: string
  readonly model: BenchModel
  readonly columns: readonly Column[]
  readonly methods: Readonly<Record<string, Method>>
  readonly exclude: readonly string[]
  readonly show: (scores: Scores) => string
  /** Reference figures by column, as text. */
  readonly targets: readonly string[]
}

/** Lines of the recognition model: the same as its demo renders. */
const TEST_LINES = 120
const CALIBRATION_LINES = 16

const group = 32
const searched = gptq()
const unclipped = awq({ clip: false })

const METHODS: Readonly<Record<string, Method>> = {
  'round to nearest': {},
  'searched scale, Gram-weighted': { rounding: rtn({ range: 'search-gram' }) },
  HQQ: { rounding: hqq() },
  GPTQ: { rounding: gptq({ scales: 'range' }) },
  'GPTQ on the scales of rounding': { rounding: gptq({ scales: rtn() }) },
  'GPTQ, act-order': { rounding: gptq({ scales: 'range', actOrder: 'static' }) },
  'GPTQ +s': { rounding: searched },
  'GPTQ +s, act-order': { rounding: gptq({ actOrder: 'static' }) },
  AWQ: { transforms: [awq()] },
  'AWQ → GPTQ': { transforms: [unclipped], rounding: gptq({ scales: 'range' }) },
  'AWQ → GPTQ +s': { transforms: [unclipped], rounding: searched },
  'AWQ → GPTQ +s, sequential': { transforms: [unclipped], rounding: searched, mode: 'sequential' },
  'rotate → GPTQ +s': { transforms: [rotate()], rounding: searched },
}

/** Methods by name, in the order of the table. */
const pick = (...names: readonly string[]): Readonly<Record<string, Method>> => Object.fromEntries(Object.entries(METHODS).filter(([name]) => names.includes(name)))

/** GPTQ, AWQ and rotation against their neighbours, by what the whole model does: a module a model, as each takes minutes. */
export const ptq: readonly EvidenceModule[] = [module('ptq-stories', storiesTask), module('ptq-ocr', ocrTask), module('ptq-squeezenet', squeezenetTask), module('ptq-mnist', mnistTask)]

function module(name: string, make: () => Promise<Task>): EvidenceModule {
  return { name, run: async (log) => [await table(await make(), log)] }
}

async function storiesTask(): Promise<Task> {
  return {
    id: 'ptq-stories',
    title: 'stories260K after calibration',
    note: 'Perplexity on the first 40 stories, calibrated on the next 64; 36 MatMul sites, groups of 32. “+s”: scales searched through the Gram matrix',
    model: stories(64),
    columns: [
      { title: 'int4', scheme: int4({ group }) },
      { title: 'int3', scheme: int3({ group }) },
      { title: 'int3 asymmetric', scheme: weightScheme('uint3', { group, symmetric: false }) },
      { title: 'int2 asymmetric', scheme: weightScheme('uint2', { group, symmetric: false }) },
    ],
    methods: METHODS,
    exclude: ['*Gather*'],
    show: (s) => s['perplexity'].toFixed(3),
    targets: ['4.109 (best 4.050)', '5.97', '(best 5.277)', '(best 39.7)'],
  }
}

async function ocrTask(): Promise<Task> {
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
      { title: 'int4, groups of 32', scheme: int4({ group }) },
      { title: 'int3, groups of 32', scheme: int3({ group }) },
    ],
    methods: pick('round to nearest', 'GPTQ', 'GPTQ, act-order', 'GPTQ +s'),
    exclude: [],
    show: (s) => `${(100 * s['errorRate']).toFixed(2)} %`,
    targets: ['0.49 % (+s 0.14 %)', '+s 0.10 %', '+s 1.05 %'],
  }
}

async function squeezenetTask(): Promise<Task> {
  return {
    id: 'ptq-squeezenet',
    title: 'SqueezeNet 1.1 after calibration',
    note: 'Agreement with the float model’s first class on 200 pictures, and output signal over noise; calibrated on 100 others',
    model: squeezenet(),
    columns: [{ title: 'int4 per channel', scheme: int4() }],
    methods: pick('round to nearest', 'searched scale, Gram-weighted', 'GPTQ', 'GPTQ, act-order', 'GPTQ +s', 'GPTQ +s, act-order'),
    exclude: [],
    show: (s) => `${(100 * s['agreement']).toFixed(1)} %, ${s['decibels'].toFixed(1)} dB`,
    targets: ['top-1 30.4 → 56-58 of 62.0'],
  }
}

async function mnistTask(): Promise<Task> {
  return {
    id: 'ptq-mnist',
    title: 'MNIST CNN after calibration',
    note: 'Agreement with the float model on 2000 digits, calibrated on 100 others',
    model: mnist(),
    columns: [
      { title: 'int2 per channel', scheme: int2() },
      { title: 'int4 per channel', scheme: int4() },
    ],
    methods: pick('round to nearest', 'searched scale, Gram-weighted', 'GPTQ', 'GPTQ, act-order', 'GPTQ +s'),
    exclude: [],
    show: (s) => `${(100 * s['agreement']).toFixed(1)} %`,
    targets: ['78.4 → +s 99.0', ''],
  }
}

async function table({ id, title, note, model, columns, methods, exclude, show, targets }: Task, log: (line: string) => void): Promise<EvidenceTable> {
  const float = await openOnnx(model.path)
  const runFloat = remembered((batch) => float.run(batch))
  const calibration = await model.calibration()
  const cache = new StatisticsCache()
  const rows: string[][] = [['float32', show(await model.evaluate(runFloat, runFloat)), ...columns.slice(1).map(() => '')]]
  for (const [name, method] of Object.entries(methods)) {
    const start = performance.now()
    const cells: string[] = []
    for (const { title: column, scheme } of columns) {
      const weights = method.rounding?.name === '@lowbit/algos-hqq' ? hqqScheme(scheme) : scheme
      const host = await openOnnx(model.path)
      const { report } = await quantize(cache.wrap(host), { format: 'dequantize', weights, calibration, exclude, ...method })
      cells.push(show(await model.evaluate(runFloat, (batch) => host.run(batch))))
      log(`${title}: ${name}, ${column}: ${cells.at(-1)} (${report.sites.filter((s) => s.status === 'quantized').length} sites, ${((performance.now() - start) / 1000).toFixed(0)} s)`)
      await host.dispose()
    }
    rows.push([name, ...cells])
  }
  rows.push(['reference figures', ...targets])
  await float.dispose()
  return { id, title, note, columns: ['method', ...columns.map((c) => c.title)], rows }
}

/** The float model's answers: every method is compared with the same ones. */
function remembered(run: Run): Run {
  const answers = new Map<string, ReturnType<Run>>()
  return (batch) => {
    const hash = createHash('sha1')
    for (const { data } of Object.values(batch)) hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    const key = hash.digest('hex')
    const answer = answers.get(key) ?? run(batch)
    answers.set(key, answer)
    return answer
  }
}

/** HQQ finds float zero points: the asymmetric scheme of the same bits. */
function hqqScheme(scheme: Scheme): Scheme {
  if (!scheme.symmetric) return { ...scheme, zeroPoint: 'float' }
  return { ...(scheme.dtype === 'int4' ? uint4({ group }) : weightScheme('uint3', { group, symmetric: false })), zeroPoint: 'float' }
}
