import type { DecisionSet } from '../contract/v2/capabilities.js'
import type { Batch, BatchSource, ModelHost } from '../contract/v2/host.js'
import type { Decisions } from '../pipeline/decisions.js'
import { realValues } from '../numbers/real-values.js'
import { DifferenceMeter, type Energies } from '../report/measures.js'
import { outputsUnder } from './outputs-under.js'
import { allFloat, inFloat, type Switch } from './switches.js'

/** A host, and what was decided there. */
export interface Decided {
  readonly host: ModelHost
  readonly decisions: Decisions
  readonly signal: AbortSignal | undefined
}

/** Inputs with the outputs that the float model gives for them. */
export interface Measured {
  readonly batches: readonly Batch[]
  readonly wanted: readonly Batch[]
  /** Energy of the outputs. */
  readonly signal: number
  /** Outputs that hold values which are not finite, in sentences. */
  readonly warnings: readonly string[]
}

/** What rounding adds to the outputs. */
export interface Noise {
  /** Energy over that of the signal. */
  readonly total: number
  /** Energy in each batch. */
  readonly batches: readonly number[]
}

/** Batches after which a measurement may be clear. */
const FIRST_BATCHES = 4

/** Runs the model without any rounding on the first batches of the data. */
export async function measureFloat({ host, decisions, signal }: Decided, data: BatchSource, count: number): Promise<Measured> {
  const batches: Batch[] = []
  for await (const batch of data) {
    if (batches.length >= count) break
    batches.push(batch)
  }
  const wanted: Batch[] = []
  await outputsUnder(host, decisions, [allFloat(decisions)], batches, (_, i, outputs) => {
    wanted[i] = outputs
    return true
  }, signal)
  const energy = wanted.reduce((sum, outputs) => sum + energies(outputs, outputs).signal, 0)
  return { batches, wanted, signal: energy, warnings: unusual(wanted) }
}

/**
 * Output noise of a model with some of its activations and weights in float: the model's own outputs without any rounding are the
 * measure, no labels are needed.
 */
export class Switchboard {
  readonly #decided: Decided
  readonly #measured: Measured
  readonly #base: DecisionSet

  /** @param base - decided otherwise in every measurement */
  constructor(decided: Decided, measured: Measured, base: DecisionSet = {}) {
    this.#decided = decided
    this.#measured = measured
    this.#base = base
  }

  /** Output noise with these in float. */
  async noise(switches: ReadonlySet<Switch>): Promise<Noise> {
    const [batches = []] = await this.#run([switches], () => false)
    return { total: this.#measured.signal > 0 ? sum(batches) / this.#measured.signal : 0, batches }
  }

  /**
   * The part of a noise that is gone with each of these sets in float.
   * @param isClear - whether a part found on the first batches says enough, so that the others need not run
   */
  async parts(noise: Noise, sets: readonly ReadonlySet<Switch>[], isClear: (set: number, part: number) => boolean): Promise<readonly number[]> {
    const partOf = (left: readonly number[]): number => 1 - sum(left) / sum(noise.batches.slice(0, left.length))
    const all = await this.#run(sets, (set, left) => left.length >= FIRST_BATCHES && isClear(set, partOf(left)))
    return all.map(partOf)
  }

  /** Energy of the noise in each batch, under each set. */
  async #run(sets: readonly ReadonlySet<Switch>[], isEnough: (set: number, noise: readonly number[]) => boolean): Promise<readonly (readonly number[])[]> {
    const { batches, wanted } = this.#measured
    const { host, decisions, signal } = this.#decided
    const noise = sets.map((): number[] => [])
    const see = (set: number, batch: number, outputs: Batch): boolean => {
      noise[set].push(energies(wanted[batch], outputs).noise)
      return !isEnough(set, noise[set])
    }
    await outputsUnder(host, decisions, sets.map((switches) => inFloat(switches, this.#base)), batches, see, signal)
    return noise
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0)
}

function energies(want: Batch, got: Batch): Energies {
  const meter = new DifferenceMeter()
  for (const [name, tensor] of Object.entries(want)) {
    const other = got[name]
    const [x, y] = [realValues(tensor), other === undefined ? undefined : realValues(other)]
    if (x !== undefined && y !== undefined) meter.add(x, y)
  }
  return meter.energies()
}

function unusual(outputs: readonly Batch[]): readonly string[] {
  const counts = new Map<string, { values: number; unusual: number }>()
  for (const [name, tensor] of outputs.flatMap((batch) => Object.entries(batch))) {
    const values = realValues(tensor)
    if (values === undefined) continue
    const count = counts.get(name) ?? { values: 0, unusual: 0 }
    for (const v of values) if (!Number.isFinite(v)) count.unusual++
    count.values += values.length
    counts.set(name, count)
  }
  return [...counts].filter(([, count]) => count.unusual > 0).map(([name, count]) => `output '${name}': ${count.unusual} of ${count.values} values of the float model are not finite in calibration; the comparison with it leaves them out`)
}
