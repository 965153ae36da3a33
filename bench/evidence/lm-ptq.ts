import { readFileSync } from 'node:fs'
import { gptq } from '@lowbit/algos-gptq'
import { hqq } from '@lowbit/algos-hqq'
import { calibrationWindows, openCausalLmHost, openModelFile, type ModelInput } from '@lowbit/causal-lm'
import { int2, int3, int4, quantize, resolveRounding, rtn, weightScheme, type Batch, type ModelHost, type QuantizeOptions, type Report, type RoundingAlgorithm, type Scheme } from '@lowbit/core'
import { ALGORITHMS, CALIBRATED_DEFAULT } from '../../packages/cli/src/recipes/algorithms.js'
import { bestLinAlg } from '../../packages/cli/src/jobs/linalg.js'
import { needSharedData } from '../models/shared.ts'
import { smolLm2As } from '../models/smollm2.ts'
import { storyTokens, TEST_STORIES } from '../models/stories.ts'
import { cpuSeconds } from './cpu-seconds.ts'
import type { EvidenceModule, EvidenceTable, Selection } from './types.ts'

/** Language models through their own host: perplexity against the float model's, token by token. */
export const lmPtq: EvidenceModule = {
  name: 'lm-ptq',
  partial: true,
  run: async (log, selection, keep) => {
    const tables: EvidenceTable[] = []
    for (const task of [stories(), smolLm2()]) tables.push(await table(task, log, selection, (one) => keep([...tables, one])))
    return tables
  },
}

interface LmTask {
  readonly id: string
  readonly title: string
  readonly note: string
  open(): Promise<ModelInput>
  /** Texts that are judged, and texts to calibrate with: windows of tokens. */
  data(): Promise<{ readonly test: readonly (readonly number[])[]; readonly calibration: readonly Batch[] }>
  readonly columns: Readonly<Record<string, Scheme>>
  readonly methods: Readonly<Record<string, Method>>
  readonly targets: readonly string[]
}

type Method = (scheme: Scheme) => Pick<QuantizeOptions, 'weights' | 'rounding' | 'mode' | 'exclude' | 'overrides'>

/** The command's default for the layers; embedding and head as they are. */
const layers = (rounding: RoundingAlgorithm, mode: 'one-pass' | 'sequential' = 'one-pass'): Method => (weights) => ({ weights, rounding, mode, exclude: ['embed'] })
const best = (): RoundingAlgorithm => resolveRounding(CALIBRATED_DEFAULT, ALGORITHMS)

const METHODS: Readonly<Record<string, Method>> = {
  'round to nearest': layers(rtn()),
  HQQ: (weights) => ({ ...layers(hqq())(weights), weights: weightScheme(weights.dtype.replace(/^int/, 'uint') as 'uint4', { ...groupOf(weights), symmetric: false }) }),
  GPTQ: layers(gptq()),
  'GPTQ, sequential': layers(gptq(), 'sequential'),
  'GPTQ, act-order, sequential': layers(gptq({ actOrder: 'static' }), 'sequential'),
  'default, one pass': layers(best()),
  'default, sequential': layers(best(), 'sequential'),
  'default, sequential, embedding and head in int8 too': (weights) => ({ weights, rounding: best(), mode: 'sequential', overrides: [{ match: 'embed', weights: weightScheme('int8', { group: 32 }) }] }),
}

const groupOf = ({ granularity }: Scheme): { readonly group?: number } => (granularity.kind === 'group' ? { group: granularity.size } : {})

function stories(): LmTask {
  const group = 32
  const window = (tokens: readonly number[]): Batch => ({ tokens: { dtype: 'int32', shape: [1, tokens.length], data: Int32Array.from(tokens) } })
  return {
    id: 'lm-ptq-stories',
    title: 'stories260K through the language-model host',
    note: 'Perplexity on the first 40 stories, calibrated on the next 64; all 35 projections, embedding and head in float unless said; stored as MatMulNBits',
    open: async () => needSharedData('stories260K.bin'),
    data: async () => ({ test: storyTokens().slice(0, TEST_STORIES), calibration: storyTokens().slice(TEST_STORIES, TEST_STORIES + 64).map((tokens) => window(tokens.slice(0, -1))) }),
    columns: { 'int4 g32': int4({ group }), 'int3 g32': int3({ group }), 'int3 g32 asymmetric': weightScheme('uint3', { group, symmetric: false }), 'int2 g32': int2({ group }), 'int2 g32 asymmetric': weightScheme('uint2', { group, symmetric: false }) },
    methods: METHODS,
    targets: ['4.058', '', '5.300', '', '31.7'],
  }
}

function smolLm2(): LmTask {
  const WINDOW = 1024
  return {
    id: 'lm-ptq-smollm2',
    title: 'SmolLM2-135M-Instruct through the language-model host',
    note: 'Perplexity on the first 4,096 tokens of wikitext2-valid in windows of 1,024 (every token but a window’s first), calibrated on 4,096 tokens from character 32,768 on; all 210 projections, embedding and head in float unless said',
    open: () => smolLm2As('F32'),
    data: async () => {
      const file = await openModelFile(await smolLm2As('F32'))
      const tokenizer = file.tokenizer()
      await file.weights.close()
      if (tokenizer === undefined) throw new Error('SmolLM2 has a tokenizer')
      const text = readFileSync(needSharedData('wikitext2-valid.txt'), 'utf8')
      const tokens = tokenizer.encode(text.slice(0, 40_000), { bos: false }).slice(0, 4 * WINDOW)
      return { test: Array.from({ length: 4 }, (_, i) => tokens.slice(i * WINDOW, (i + 1) * WINDOW)), calibration: calibrationWindows(tokenizer, text.slice(32_768), { window: 512, tokens: 4096 }) }
    },
    columns: { 'int4 g128': int4({ group: 128 }), 'int4 g32': int4({ group: 32 }), 'int3 g32': int3({ group: 32 }) },
    methods: METHODS,
    targets: ['18.34 (rounding 21.36, HQQ 20.17)', '', '24.2 (rounding 48.2)'],
  }
}

async function table(task: LmTask, log: (line: string) => void, selection: Selection, keep: (table: EvidenceTable) => void): Promise<EvidenceTable> {
  const names = Object.keys(task.columns)
  const rows: string[][] = []
  const tableOf = (): EvidenceTable => ({
    id: task.id,
    title: task.title,
    note: `${task.note}. After each figure: standard error of the logarithm’s difference from float, mean Kullback-Leibler divergence in nats, bits a weight of the quantized matrices, processor time of the quantization`,
    columns: ['method', ...names],
    rows: [...rows, ...Object.keys(task.methods).slice(Math.max(0, rows.length - 1)).map((name) => [name, ...names.map(() => '')]), ['reference figures', ...task.targets]],
  })
  const wanted = Object.keys(task.methods).some((name) => selection.row(name)) && names.some((name) => selection.column(name)) && (selection.row(task.id) || Object.keys(task.methods).some((name) => selection.row(name)))
  if (!wanted) return tableOf()
  const { test, calibration } = await task.data()
  const float = await openCausalLmHost(await task.open(), { linalg: bestLinAlg() })
  const reference = await judge(float, test)
  await float.dispose()
  rows.push(['float32', Math.exp(mean(reference.losses)).toFixed(3), ...names.slice(1).map(() => '')])
  log(`${task.title}: float32 ${rows[0][1]}`)
  for (const [name, method] of Object.entries(task.methods)) {
    const cells: string[] = []
    for (const [column, scheme] of Object.entries(task.columns)) {
      if (!selection.row(name) || !selection.column(column)) {
        cells.push('')
        continue
      }
      const host = await openCausalLmHost(await task.open(), { linalg: bestLinAlg() })
      const start = cpuSeconds()
      const { report } = await quantize(host, { ...method(scheme), format: 'onnx', calibration, linalg: bestLinAlg() })
      const seconds = cpuSeconds() - start
      cells.push(`${show(await judge(host, test), reference)} · ${bits(report).toFixed(2)} b · ${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`)
      log(`${task.title}: ${name}, ${column}: ${cells.at(-1)} (${Math.round(process.memoryUsage().rss / 1e6)} MB)`)
      await host.dispose()
    }
    rows.push([name, ...cells])
    if (cells.some((c) => c !== '')) keep(tableOf())
  }
  return tableOf()
}

interface Judged {
  readonly losses: readonly number[]
  /** Logarithms of all probabilities, a token after another, of the first windows: enough for a divergence. */
  readonly logs: readonly Float32Array[]
}

/** Tokens of which whole distributions are kept. */
const KEPT = 512

async function judge(host: ModelHost, texts: readonly (readonly number[])[]): Promise<Judged> {
  const losses: number[] = []
  const logs: Float32Array[] = []
  for (const tokens of texts) {
    const inputs = tokens.slice(0, -1)
    const { logits } = await host.run({ tokens: { dtype: 'int32', shape: [1, inputs.length], data: Int32Array.from(inputs) } })
    const width = logits.shape[2]
    for (let t = 0; t < inputs.length; t++) {
      const row = (logits.data as Float32Array).subarray(t * width, (t + 1) * width)
      let top = -Infinity
      for (let v = 0; v < width; v++) top = Math.max(top, row[v])
      let sum = 0
      for (let v = 0; v < width; v++) sum += Math.exp(row[v] - top)
      const log = top + Math.log(sum)
      losses.push(log - row[tokens[t + 1]])
      if (logs.length < KEPT) logs.push(row.map((v) => v - log))
    }
  }
  return { losses, logs }
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length

function show(own: Judged, reference: Judged): string {
  const differences = own.losses.map((loss, i) => loss - reference.losses[i])
  const average = mean(differences)
  const error = Math.sqrt(mean(differences.map((d) => (d - average) ** 2)) / differences.length)
  const kl = mean(own.logs.map((q, i) => q.reduce((sum, log, v) => sum + Math.exp(reference.logs[i][v]) * (reference.logs[i][v] - log), 0)))
  return `${Math.exp(mean(own.losses)).toFixed(3)} ± ${error.toFixed(3)} · KL ${kl.toFixed(3)}`
}

function bits({ sites }: Report): number {
  const quantized = sites.filter((s) => s.status === 'quantized' && s.bytesBefore > 0)
  return (8 * quantized.reduce((sum, s) => sum + s.bytesAfter, 0)) / quantized.reduce((sum, s) => sum + s.shape[0] * s.shape[1], 0)
}
