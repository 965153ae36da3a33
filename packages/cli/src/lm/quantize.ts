import { basename, dirname, extname, join, resolve } from 'node:path'
import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import type { Command } from 'commander'
import { calibrationWindows, CALIBRATION_WINDOW, openCausalLmHost, openModelFile, type CausalLmHost, type ModelFile } from '@lowbit/causal-lm'
import { DEFAULT_MAX_MEMORY, isLowbitError, LowbitError, quantize, type Batch, type QuantizeResult } from '@lowbit/core'
import { atomicWriteText, expectFreeFolder, lockOutput, readWholeFile, watchFiles, type NamedFile } from '@lowbit/formats/node'
import { folderStore, threadRunner, type FolderStore } from '@lowbit/jobs/node'
import { reportJson } from '@lowbit/report'
import { refuseRuined } from '../commands/execute.js'
import { addFlags, readFlags } from '../flags/flag.js'
import { bestLinAlg, linAlgWarning } from '../jobs/linalg.js'
import { checkNotThere, checkOutputs, refuseStream, type Output } from '../output/files.js'
import { processTerminal, type Terminal } from '../output/terminal.js'
import { CALIBRATION_TOKENS, QUANTIZE_LM_FLAGS, type QuantizeLmValues } from './quantize-flags.js'
import { lmOptions } from './quantize-options.js'
import { formatLmReport } from './quantize-report.js'

/** A text that is larger is no text to calibrate with. */
const MAX_TEXT = 1 << 30

/** Logits may lose much before a text does: 12 dB are a divergence of some hundredths. A model is ruined where noise is louder than they are. */
const LEAST_LOGITS = 0

/** `lowbit lm quantize` */
export function quantizeLmCommand(lm: Command): void {
  const command = lm.command('quantize').description('make a smaller language model').argument('<model>', 'a .gguf file, a Hugging Face folder, or a llama2.c .bin')
  addFlags(command, QUANTIZE_LM_FLAGS)
    .addHelpText('after', `
Examples:
  $ lowbit lm quantize ./SmolLM2-135M -o smol.gguf
      int4 in groups of 32 (Q4_0 in llama.cpp), no data needed
  $ lowbit lm quantize ./SmolLM2-135M -c text.txt --to onnx -o smol-onnx
      a folder for transformers.js and ONNX Runtime
  $ lowbit lm quantize ./SmolLM2-135M -w int4 -c text.txt -o smol.gguf
      codes found with the text, product by product; a killed run goes on where it stopped
  $ lowbit lm quantize model.gguf -w int3 --embedding int4 -c text.txt -o small.gguf --report small.json`)
    .action(async (model: string) => {
      const values = readFlags<QuantizeLmValues>(command, QUANTIZE_LM_FLAGS)
      const terminal = processTerminal({ quiet: values.quiet === true || values.json === true })
      try {
        const { report } = await quantizeLm(model, values, terminal)
        terminal.stop()
        terminal.print(values.json === true ? reportJson(report).trimEnd() : formatLmReport(report, values.output))
      } finally {
        terminal.stop()
      }
    })
}

/**
 * Quantizes a model file. With a text, finished sites are kept in a work folder beside the output until it is written, so that a
 * killed run goes on where it stopped; the output appears whole or not at all.
 */
async function quantizeLm(path: string, values: QuantizeLmValues, terminal: Terminal): Promise<QuantizeResult> {
  refuseStream('--output', values.output)
  refuseStream('--report', values.report)
  const output = resolve(values.output)
  const format = formatOf(values)
  const isFolder = format !== 'gguf'
  if (isFolder) await expectFreeFolder(output)
  const outputs: readonly Output[] = [...(isFolder ? [] : [{ what: '--output', path: output }]), ...(values.report === undefined ? [] : [{ what: '--report', path: values.report }])]
  const sources: readonly NamedFile[] = [{ what: 'the model', path: resolve(path) }, ...(values.calibration === undefined ? [] : [{ what: 'the calibration text', path: values.calibration }])]
  const rules = { noClobber: values.clobber === false }
  await checkOutputs(outputs, sources, rules)
  const lock = await lockOutput(output)
  try {
    const file = await openModelFile(path)
    const data = values.calibration === undefined ? undefined : await closing(file, () => readCalibration(file, values))
    const warning = linAlgWarning()
    if (warning !== undefined) terminal.note(warning)
    const threads = values.threads ?? Math.min(8, availableParallelism())
    const host = await openCausalLmHost(file, { threads, linalg: bestLinAlg() })
    try {
      return await run(host, { output, format, data, threads, rules, watched: sources.map((s) => s.path).filter((p) => extname(p) !== '') }, values, terminal)
    } finally {
      await host.dispose()
    }
  } finally {
    await lock.release()
  }
}

interface Calibration {
  readonly batches: readonly Batch[]
  readonly identity: string
}

interface Run {
  readonly output: string
  readonly format: string
  readonly data: Calibration | undefined
  readonly threads: number
  readonly rules: { readonly noClobber: boolean }
  readonly watched: readonly string[]
}

async function run(host: CausalLmHost, { output, format, data, threads, rules, watched }: Run, values: QuantizeLmValues, terminal: Terminal): Promise<QuantizeResult> {
  const options = await lmOptions(host, format, values)
  const watch = await watchFiles(watched)
  const work = data === undefined ? undefined : folderStore(join(dirname(output), `.${basename(output)}.lowbit-work`), { data: data.identity, onRefused: (sentence) => terminal.note(sentence) })
  const runner = data === undefined ? undefined : threadRunner({ worker: new URL('./worker.js', import.meta.url), maxMemory: options.maxMemory ?? DEFAULT_MAX_MEMORY, threads })
  const result = await quantize(host, {
    ...options,
    linalg: bestLinAlg(),
    ...(data === undefined ? {} : { calibration: data.batches }),
    ...(work === undefined ? {} : { jobs: work }),
    ...(runner === undefined ? {} : { runner }),
    signal: terminal.signal,
    onProgress: terminal.onProgress,
  }).finally(() => runner?.close())
  await orForget(work, () => watch.checkUnchanged())
  if (values.force !== true) refuseRuined(result.report, LEAST_LOGITS)
  if (format === 'gguf') await checkNotThere(output, rules)
  await result.save(output)
  const resumed = work?.resumed ?? 0
  if (resumed > 0) terminal.note(`${resumed} matrices were already done by a run that had stopped.`)
  if (values.report !== undefined) await atomicWriteText(values.report, reportJson(result.report), rules)
  await work?.remove()
  return result
}

/** What was worked out from files that changed on the way must not be taken up again. */
async function orForget(work: FolderStore | undefined, step: () => Promise<void>): Promise<void> {
  try {
    await step()
  } catch (error) {
    if (isLowbitError(error, 'LOWBIT_FILE') && error.parts.found.includes('changed')) await work?.remove()
    throw error
  }
}

/** What is open until something else takes it over. */
async function closing<T>(file: ModelFile, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    await file.weights.close()
    throw error
  }
}

async function readCalibration(file: ModelFile, { calibration = '', window, tokens = CALIBRATION_TOKENS }: QuantizeLmValues): Promise<Calibration> {
  const tokenizer = file.tokenizer()
  if (tokenizer === undefined) throw new LowbitError('LOWBIT_ARGUMENT', { thing: file.name, found: 'no tokenizer', expected: 'one in the file: a text is cut by it', fix: 'open the Hugging Face folder of the model, or put tokenizer.bin beside it' })
  const bytes = await readWholeFile(calibration, MAX_TEXT)
  const { context } = file.weights.config
  if (window !== undefined && window > context) throw new LowbitError('LOWBIT_LIMIT', { thing: '--window', found: String(window), expected: `at most ${context}, which the model was trained for` })
  const size = window ?? Math.min(CALIBRATION_WINDOW, context)
  const batches = calibrationWindows(tokenizer, new TextDecoder().decode(bytes), { window: size, tokens })
  return { batches, identity: createHash('sha256').update(JSON.stringify([size, tokens])).update(bytes).digest('hex') }
}

/** @throws LOWBIT_ARGUMENT for a name that says nothing, and without `--to` */
function formatOf({ to, output }: QuantizeLmValues): string {
  if (to !== undefined) return to
  if (extname(output).toLowerCase() === '.gguf') return 'gguf'
  if (/[\\/]$/.test(output)) return 'huggingface'
  throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--output', found: JSON.stringify(output), expected: 'a name that ends with .gguf', fix: 'or say what is to be written: --to onnx, --to huggingface' })
}
