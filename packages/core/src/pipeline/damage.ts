import type { Batch, BatchSource, ModelHost } from '../contract/v2/host.js'
import { throwIfAborted } from '../errors.js'
import { decibels } from '../report/measures.js'
import type { Damage, SiteReport } from '../report/report.js'
import { realValues } from '../numbers/real-values.js'

/** Batches of the calibration data that both models are run on. */
const BATCHES = 4

/** Output signal over noise, in decibels, below which a model is to be looked at before it is used. */
export const DOUBTFUL = 20

/** Below this a model is ruined: the command writes it only where it is told to. */
export const RUINED = 10

/** Outputs of the model as it was opened and as it stands, on the first batches of the data. Values that are not finite in the original are left out. */
export async function measureDamage(host: ModelHost, data: BatchSource, signal: AbortSignal | undefined): Promise<Damage> {
  let batches = 0
  let signalPower = 0
  let noise = 0
  for await (const batch of data) {
    throwIfAborted(signal, 'measuring the damage')
    const before = await host.run(batch, { model: 'original' })
    const after = await host.run(batch)
    for (const [x, y] of pairs(before, after)) {
      for (let i = 0; i < x.length; i++) {
        if (!Number.isFinite(x[i])) continue
        signalPower += x[i] ** 2
        noise += Number.isFinite(y[i]) ? (x[i] - y[i]) ** 2 : Infinity
      }
    }
    if (++batches === BATCHES) break
  }
  return { sqnr: noise === Infinity ? -Infinity : decibels(signalPower, noise), batches }
}

/**
 * Without data: what all rounding errors would do together if each went through to the outputs. Real models do better, or worse where
 * a layer makes much of little.
 */
export function estimateDamage(sites: readonly SiteReport[]): Damage | undefined {
  const share = sites.reduce((sum, s) => sum + (s.status === 'quantized' && s.bytesBefore > 0 && s.weightSqnr !== undefined ? 10 ** (-s.weightSqnr / 10) : 0), 0)
  return share === 0 ? undefined : { sqnr: -10 * Math.log10(share), batches: 0 }
}

/** What a reader should know of it, as sentences. */
export function damageWarnings(damage: Damage | undefined, sites: readonly SiteReport[], isStatic = false): readonly string[] {
  if (damage === undefined || damage.sqnr >= (damage.batches === 0 ? RUINED : DOUBTFUL)) return []
  const worst = sites
    .filter((s) => s.status === 'quantized')
    .sort((a, b) => (a.outputSqnr ?? a.weightSqnr ?? Infinity) - (b.outputSqnr ?? b.weightSqnr ?? Infinity))
    .slice(0, 3)
    .map((s) => `'${s.id}'`)
  const cure = `most is lost at ${worst.join(', ')}: give them more bits or smaller groups, a calibrated algorithm, or leave them in float${isStatic ? '; activations of 8 bits may be what ruins it: calibrate with more data, or round the weights alone' : ''}`
  if (damage.batches === 0) return [`without data the damage is only estimated, and it may be large (about ${damage.sqnr.toFixed(0)} dB in the worst case); ${cure}; compare with the original before use`]
  return [`output signal over noise on the calibration data is ${damage.sqnr.toFixed(1)} dB; ${cure}`]
}

function* pairs(before: Batch, after: Batch): Generator<readonly [ArrayLike<number>, ArrayLike<number>]> {
  for (const [name, value] of Object.entries(before)) {
    const x = realValues(value)
    const y = after[name] === undefined ? undefined : realValues(after[name])
    if (x !== undefined && y !== undefined && x.length === y.length) yield [x, y]
  }
}
