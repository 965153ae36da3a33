import { openOnnx } from '@lowbit/backend-ort'
import { allocateBits, LowbitError, quantize, resolveRecipe, sensitivity, type CodeType, type Recipe, type RecipeScheme, type Scheme, type SensitivityRow } from '@lowbit/core'
import { openData } from '../data/source.js'
import { dataSpec } from '../data/spec.js'
import type { Terminal } from '../output/terminal.js'
import { schemesOf } from './sensitivity.js'

/** `2.5MB`, `900k`, `1500000`: powers of 1000. */
export function parseSize(text: string): number {
  const match = /^\s*([\d.]+)\s*([kmg]?)b?\s*$/i.exec(text)
  const value = match === null ? NaN : Number(match[1]) * 1000 ** ['', 'k', 'm', 'g'].indexOf(match[2].toLowerCase())
  if (!(value > 0)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--budget', found: JSON.stringify(text), expected: 'a size such as 2.5MB' })
  return Math.floor(value)
}

export interface BudgetJob {
  readonly model: string
  /** Most bytes the file may have. */
  readonly bytes: number
  /** Types to choose among; what else the recipe says of weights holds for each. */
  readonly types: readonly CodeType[]
  readonly recipe: Recipe
  readonly calibration: NonNullable<Recipe['calibration']>
  /** Paths of the recipe are relative to it. */
  readonly folder: string
  readonly terminal: Terminal
}

/** Choices that are written to see their size. */
const ATTEMPTS = 8

/** Room for what a calibrated run notes in the file beyond plain rounding: its algorithms and their options. */
const NOTES = 1024

type Override = NonNullable<Recipe['overrides']>[number]

/**
 * Overrides that choose a scheme for every site so that the file fits `bytes` with the least summed output error.
 * What is not a site's weight keeps its size; what the written graph takes for its nodes and names is measured.
 * @throws LOWBIT_ARGUMENT if no choice fits
 */
export async function budgetOverrides(job: BudgetJob): Promise<readonly Override[]> {
  const { model, bytes, types, recipe, calibration, folder, terminal } = job
  const host = await openOnnx(model)
  try {
    const data = await openData(dataSpec(calibration, folder), host.inputs())
    const { group, perTensor, symmetric, reduceRange } = recipe.weights
    const alike = { ...(group === undefined ? {} : { group }), ...(perTensor === undefined ? {} : { perTensor }), ...(symmetric === undefined ? {} : { symmetric }), ...(reduceRange === undefined ? {} : { reduceRange }) }
    const table = await sensitivity(host, { schemes: schemesOf(types, alike), calibration: data, signal: terminal.signal, onProgress: terminal.onProgress })
    const rest = host.size() - [...new Map(table.map((row) => [row.site, row.floatBytes])).values()].reduce((a, b) => a + b, 0)
    const sizeOf = (chosen: readonly Override[]): Promise<number> => writtenSize(model, { ...recipe, overrides: [...chosen, ...(recipe.overrides ?? [])] })
    const smallest = smallestRows(table)
    const least = await sizeOf(smallest.map(({ site, scheme }) => override(site, scheme)))
    if (least > bytes) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--budget', found: `${bytes} bytes`, expected: `at least ${least}, the file with the smallest choice of every site`, fix: 'raise the budget or allow fewer bits' })
    // What is between is found by halving: which sites change decides how much the graph grows.
    let low = smallest.reduce((sum, row) => sum + row.bytes, 0)
    let high = Math.max(low, bytes - rest)
    let best = choose(table, low)
    for (let left = high, attempt = 0; attempt < ATTEMPTS && low < high; attempt++, left = (low + high) >> 1) {
      const chosen = choose(table, left)
      if ((await sizeOf(chosen)) > bytes) high = left - 1
      else {
        best = chosen
        low = left
      }
    }
    return best
  } finally {
    await host.dispose()
  }
}

function choose(table: readonly SensitivityRow[], bytes: number): readonly Override[] {
  return [...allocateBits(table, bytes).schemes].map(([match, scheme]) => override(match, scheme))
}

function override(match: string, scheme: Scheme | null): Override {
  return { match, weights: scheme === null ? null : recipeForm(scheme) }
}

interface SmallestRow {
  readonly site: string
  /** Null: float is smallest. */
  readonly scheme: Scheme | null
  readonly bytes: number
}

function smallestRows(table: readonly SensitivityRow[]): readonly SmallestRow[] {
  const rows = new Map<string, SmallestRow>()
  for (const { site, scheme, bytes, floatBytes } of table) {
    const sofar = rows.get(site) ?? { site, scheme: null, bytes: floatBytes }
    rows.set(site, bytes < sofar.bytes ? { site, scheme, bytes } : sofar)
  }
  return [...rows.values()]
}

/** Bytes of the file with these choices, found by plain rounding, whose codes take as many as any other's. */
async function writtenSize(model: string, { format = 'dequantize', weights, overrides, include, exclude, settings }: Recipe): Promise<number> {
  const weightOnly = format === 'qdq' || format === 'qoperator' ? 'dequantize' : format
  const host = await openOnnx(model, { prepare: weightOnly !== format })
  try {
    const plain: Recipe = { lowbit: 1, allowNothing: true, format: weightOnly, weights, ...(overrides === undefined ? {} : { overrides }), ...(include === undefined ? {} : { include }), ...(exclude === undefined ? {} : { exclude }), ...(settings === undefined ? {} : { settings }) }
    return (await quantize(host, resolveRecipe(plain, {}))).artifact.size + NOTES
  } finally {
    await host.dispose()
  }
}

function recipeForm({ dtype, granularity, symmetric, reduceRange }: Scheme): RecipeScheme {
  return {
    dtype,
    symmetric,
    ...(granularity.kind === 'group' ? { group: granularity.size } : granularity.kind === 'tensor' ? { perTensor: true } : {}),
    ...(reduceRange === undefined ? {} : { reduceRange }),
  }
}
