import { basename, dirname, extname, join, relative, resolve } from 'node:path'
import { DEFAULT_MAX_MEMORY, isLowbitError, LowbitError, pluginUses, quantize, resolveRecipe, type BatchSource, type PluginTable, type QuantizeResult, type Recipe, type Report, RUINED } from '@lowbit/core'
import { comparedBatches } from '@lowbit/formats/data'
import { atomicWriteText, calibrationFile, lockOutput, watchFiles, type NamedFile, type OutputLock } from '@lowbit/formats/node'
import { folderStore, threadRunner, type FolderStore } from '@lowbit/jobs/node'
import { openOnnxGraph, type OnnxGraphHost } from '@lowbit/onnx'
import { reportDetails, reportHtml, reportJson } from '@lowbit/report'
import { dataIdentity } from '../data/identity.js'
import { dataSpec } from '../data/spec.js'
import type { OutputValues, RunValues } from '../flags/common.js'
import { openData } from '../data/source.js'
import { bestLinAlg, linAlgWarning } from '../jobs/linalg.js'
import { compareFiles } from '../output/compare-files.js'
import { checkNotThere, checkOutputs, leastBytes, refuseStream, type Output } from '../output/files.js'
import type { Terminal } from '../output/terminal.js'
import { isPrepared } from '../recipes/recipe-of-values.js'
import { pluginTable } from '../plugins/user-plugins.js'

export interface Executed {
  readonly result: QuantizeResult
  readonly output: string
}

/** What is not part of the recipe: it cannot change the artifact. */
export interface ExecuteOptions {
  readonly reportFile?: string
  /** Where the recipe itself is written, as JSON. */
  readonly recipeFile?: string
  /** Where the recipe was read from. */
  readonly recipeSource?: string
  /** Write a model that the calibration data shows to be ruined. */
  readonly force?: boolean
  /** Refuse to replace files that exist. */
  readonly noClobber?: boolean
  /** The output's lock, if the caller holds it already. */
  readonly lock?: OutputLock
  /** Let the recipe name packages of the user's own project: their code runs. */
  readonly allowPlugins?: boolean
  /** Worker threads for calibrated rounding; default as many as the machine has processors. */
  readonly threads?: number
  /** File that keeps calibration statistics between runs. */
  readonly calibrationCache?: string
}

/** {@link ExecuteOptions} from a command's flags. */
export function executeOptions(flags: OutputValues & RunValues & { readonly saveRecipe?: string }): ExecuteOptions {
  refuseStream('--report', flags.report)
  refuseStream('--save-recipe', flags.saveRecipe)
  refuseStream('--calibration-cache', flags.calibrationCache)
  return {
    noClobber: flags.clobber === false,
    force: flags.force === true,
    ...(flags.saveRecipe === undefined ? {} : { recipeFile: flags.saveRecipe }),
    ...(flags.report === undefined ? {} : { reportFile: flags.report }),
    allowPlugins: flags.allowPlugins === true,
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
    ...(flags.calibrationCache === undefined ? {} : { calibrationCache: resolve(flags.calibrationCache) }),
  }
}

/**
 * Runs a recipe: open, quantize, save. The command `quantize` makes a recipe of its options and comes here too,
 * so that a saved recipe reproduces what the command did.
 *
 * A run with calibration keeps finished sites in a work folder beside the output until it is done, so that a killed run
 * goes on where it stopped.
 */
export async function execute(recipe: Recipe, folder: string, terminal: Terminal, options: ExecuteOptions = {}): Promise<Executed> {
  if (recipe.model === undefined) {
    throw new LowbitError('LOWBIT_RECIPE', { thing: 'recipe.model', found: 'nothing', expected: 'the path of an .onnx file, relative to the recipe' })
  }
  const model = resolve(folder, recipe.model)
  refuseStream('--output', recipe.output)
  const output = resolve(folder, recipe.output ?? defaultOutput(recipe))
  const outputs = outputsOf(output, options)
  const sources: readonly NamedFile[] = [
    { what: 'the model', path: model },
    ...(options.recipeSource === undefined ? [] : [{ what: 'the recipe', path: options.recipeSource }]),
    ...(recipe.calibration === undefined ? [] : [{ what: 'the calibration data', path: resolve(folder, recipe.calibration.path) }]),
  ]
  const rules = { noClobber: options.noClobber === true }
  await checkOutputs(outputs, sources, rules)
  const lock = options.lock ?? (await lockOutput(output))
  try {
    return await executeLocked(recipe, folder, { model, output, outputs, sources }, terminal, options)
  } finally {
    terminal.stop()
    if (options.lock === undefined) await lock.release()
  }
}

function outputsOf(output: string, { reportFile, recipeFile, calibrationCache }: ExecuteOptions): readonly Output[] {
  return [
    { what: '--output', path: output },
    ...(reportFile === undefined ? [] : [{ what: '--report', path: reportFile }]),
    ...(recipeFile === undefined ? [] : [{ what: '--save-recipe', path: recipeFile }]),
    ...(calibrationCache === undefined ? [] : [{ what: '--calibration-cache', path: calibrationCache, kept: true }]),
  ]
}

interface RunFiles {
  readonly model: string
  readonly output: string
  readonly outputs: readonly Output[]
  readonly sources: readonly NamedFile[]
}

async function executeLocked(recipe: Recipe, folder: string, { model, output, outputs, sources }: RunFiles, terminal: Terminal, { reportFile, recipeFile, threads, calibrationCache, noClobber = false, force = false, allowPlugins = false }: ExecuteOptions): Promise<Executed> {
  const plugins = await pluginTable([recipe], allowPlugins, process.cwd())
  const options = resolveRecipe(recipe, plugins)
  const watch = await watchFiles([model])
  // Without data nothing is run: neither the runtime nor the package around it is loaded.
  const host = recipe.calibration === undefined && !isPrepared(recipe.format) ? await openOnnxGraph(model) : await openRunning(model, isPrepared(recipe.format))
  try {
    const calibration = recipe.calibration === undefined ? undefined : await openData(dataSpec(recipe.calibration, folder), host.inputs())
    const data = (calibration?.files ?? []).map((path) => ({ what: 'the calibration data', path }))
    const external = host.files().slice(1).map((path) => ({ what: 'external data of the model', path }))
    await checkOutputs(outputs, [...sources, ...external, ...data], { noClobber }, new Map([[output, leastBytes(host, recipe)]]))
    if (calibrationCache !== undefined && calibration === undefined) {
      throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--calibration-cache', found: 'no calibration data', fix: 'add --calibration: the cache keeps what was seen in it' })
    }
    const identity = calibration === undefined ? undefined : await dataIdentity(recipe.calibration, calibration.files)
    const work = identity === undefined ? undefined : folderStore(join(dirname(output), `.${basename(output)}.lowbit-work`), { data: identity, onRefused: (sentence) => terminal.note(sentence) })
    const cache = calibrationCache === undefined || identity === undefined ? undefined : calibrationFile(calibrationCache, { data: identity })
    const warning = linAlgWarning()
    if (warning !== undefined) terminal.note(warning)
    // Without statistics a job is sooner done than sent.
    const runner = calibration === undefined ? undefined : threadRunner({ worker: new URL('./worker.js', import.meta.url), maxMemory: options.maxMemory ?? DEFAULT_MAX_MEMORY, ...(threads === undefined ? {} : { threads }) })
    const result = await quantize(host, {
      ...options,
      linalg: bestLinAlg(),
      ...(runner === undefined ? {} : { runner }),
      ...(calibration === undefined ? {} : { calibration }),
      ...(cache === undefined ? {} : { calibrationCache: cache }),
      ...(work === undefined ? {} : { jobs: work }),
      signal: terminal.signal,
      onProgress: terminal.onProgress,
    }).finally(() => runner?.close())
    await orForget(work, async () => {
      await watch.checkUnchanged()
      await calibration?.checkUnchanged()
    })
    if (!force) refuseRuined(result.report)
    await checkNotThere(output, { noClobber })
    await orForget(work, () => result.save(output))
    await openOnce(output, calibration)
    const resumed = work?.resumed ?? 0
    if (resumed > 0) terminal.note(`${resumed} sites were already done by a run that had stopped.`)
    if (reportFile !== undefined) await writeReport(reportFile, host, { model, output, noClobber }, result, calibration, terminal)
    if (recipeFile !== undefined) await atomicWriteText(recipeFile, `${JSON.stringify({ ...recipe, plugins: pins(recipe, plugins) }, null, 2)}\n`, { noClobber })
    await work?.remove()
    return { result, output }
  } finally {
    terminal.stop()
    await host.dispose()
  }
}

/**
 * Opens what was written as its user will, and runs it where there is something to run it on.
 * @throws LOWBIT_RUNTIME, LOWBIT_FORMAT for a file that does not open
 */
async function openOnce(output: string, calibration: BatchSource | undefined): Promise<void> {
  const host = calibration === undefined ? await openOnnxGraph(output) : await openRunning(output, false)
  try {
    if (calibration === undefined) return
    for await (const batch of calibration) {
      await host.run(batch)
      return
    }
  } finally {
    await host.dispose()
  }
}

async function openRunning(model: string, prepare: boolean): Promise<OnnxGraphHost> {
  const { openOnnx } = await import('@lowbit/backend-ort')
  return openOnnx(model, { prepare })
}

/** @throws LOWBIT_RUINED for a model whose outputs are mostly noise */
export function refuseRuined({ damage, warnings }: Report, least = RUINED): void {
  if (damage === undefined || damage.batches === 0 || damage.sqnr >= least) return
  throw new LowbitError('LOWBIT_RUINED', {
    thing: 'the quantized model',
    found: `outputs of ${damage.sqnr.toFixed(1)} dB signal over noise on the calibration data (${warnings.find((w) => w.startsWith('output signal')) ?? 'nothing was written'})`,
    expected: `at least ${least} dB`,
    fix: 'take more bits, smaller groups or another algorithm, or write it all the same with --force',
  })
}

/** The exact versions of all that a recipe names. */
function pins(recipe: Recipe, plugins: PluginTable): Readonly<Record<string, string>> {
  return Object.fromEntries(pluginUses(recipe).flatMap((name) => (Object.hasOwn(plugins, name) ? [[name, plugins[name]({}).version]] : [])))
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

/** Writes `.json` as it is; `.html` with charts, distributions and a comparison of the two models. */
async function writeReport(file: string, host: OnnxGraphHost, files: ComparedFiles, result: QuantizeResult, calibration: BatchSource | undefined, terminal: Terminal): Promise<void> {
  const details = await reportDetails(host, result.report, calibration)
  const comparison = await compareFiles(files.model, files.output, (inputs) => comparedBatches(inputs, calibration), terminal)
  const report = { ...result.report, comparison }
  await atomicWriteText(file, extname(file).toLowerCase() === '.html' ? reportHtml(report, details, comparison, basename(files.output)) : reportJson(report), { noClobber: files.noClobber, signal: terminal.signal })
}

interface ComparedFiles {
  readonly model: string
  readonly output: string
  readonly noClobber: boolean
}

/** model.onnx → model.int4.onnx */
export function defaultOutput(recipe: Pick<Recipe, 'model' | 'weights'>): string {
  const model = recipe.model ?? 'model.onnx'
  const extension = extname(model)
  return `${model.slice(0, model.length - extension.length)}.${recipe.weights.dtype}${extension || '.onnx'}`
}

/** A path as a recipe in `folder` would write it: relative, with forward slashes. */
export function recipePath(path: string, folder: string): string {
  const short = relative(folder, resolve(path)).replaceAll('\\', '/')
  return short === '' ? '.' : short
}

/** Folder that the paths of a recipe file are relative to. */
export function recipeFolder(file: string): string {
  return dirname(resolve(file))
}
