import { openOnnx } from '@lowbit/backend-ort'
import { allocateBits, LowbitError, sensitivity, type Recipe, type RecipeScheme, type Scheme } from '@lowbit/core'
import { openData } from '../data/source.js'
import { dataSpec } from '../data/spec.js'
import type { Terminal } from '../output/terminal.js'
import { parseSchemes } from './sensitivity.js'

/** `2.5MB`, `900k`, `1500000`: powers of 1000. */
export function parseSize(text: string): number {
  const match = /^\s*([\d.]+)\s*([kmg]?)b?\s*$/i.exec(text)
  const value = match === null ? NaN : Number(match[1]) * 1000 ** ['', 'k', 'm', 'g'].indexOf(match[2].toLowerCase())
  if (!(value > 0)) throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--budget', found: JSON.stringify(text), expected: 'a size such as 2.5MB' })
  return Math.floor(value)
}

/**
 * Overrides that choose a scheme for every site so that the model fits `bytes` with the least summed output error.
 * What is not a site's weight keeps its size.
 */
export async function budgetOverrides(model: string, bytes: number, types: string, group: string | undefined, calibration: NonNullable<Recipe['calibration']>, folder: string, terminal: Terminal): Promise<readonly { match: string; weights: RecipeScheme | null }[]> {
  const host = await openOnnx(model)
  try {
    const data = await openData(dataSpec(calibration, folder), host.inputs())
    const table = await sensitivity(host, { schemes: parseSchemes(types, group), calibration: data, signal: terminal.signal, onProgress: terminal.onProgress })
    const inTable = new Map(table.map((row) => [row.site, row.floatBytes]))
    const rest = host.size() - [...inTable.values()].reduce((a, b) => a + b, 0)
    if (rest >= bytes) {
      throw new LowbitError('LOWBIT_ARGUMENT', { thing: '--budget', found: `${bytes} bytes`, expected: `more than ${rest}, which the model takes without the weights of its sites` })
    }
    const { schemes } = allocateBits(table, bytes - rest)
    return [...schemes].map(([match, scheme]) => ({ match, weights: scheme === null ? null : recipeForm(scheme) }))
  } finally {
    await host.dispose()
  }
}

function recipeForm({ dtype, granularity, symmetric }: Scheme): RecipeScheme {
  return { dtype, symmetric, ...(granularity.kind === 'group' ? { group: granularity.size } : {}) }
}
