import type { ActivationPoint, Batch, BatchSource } from '@lowbit/core'
import { emitQdq, type Graph, type StaticDecisions, upgradeOpset } from '@lowbit/onnx'
import type { SessionOptions } from '../ort.js'
import { PATIENT, type Session } from '../session.js'

/** What a switchboard is built from. */
export interface SwitchboardJob {
  /** Loads a graph into the runtime. */
  readonly open: (graph: Graph, options: SessionOptions) => Promise<Session>
  /** The float model. Not changed. */
  readonly graph: Graph
  readonly decisions: StaticDecisions
  readonly points: readonly ActivationPoint[]
}

/** What can be put back in float by one switch. */
export interface Switch {
  readonly kind: 'activations' | 'weight'
  /** Tensors that share a scale; of a weight, the site that owns it. */
  readonly points: readonly string[]
}

/** Inputs with the outputs that the float model gives for them. */
export interface Measured {
  readonly batches: readonly Batch[]
  readonly wanted: readonly Batch[]
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

/** Runs the float model on the first batches of the data. */
export async function measureFloat(job: Pick<SwitchboardJob, 'open' | 'graph'>, data: BatchSource, count: number): Promise<Measured> {
  const batches: Batch[] = []
  for await (const batch of data) {
    if (batches.length >= count) break
    batches.push(batch)
  }
  const float = await job.open(job.graph, PATIENT)
  try {
    const wanted: Batch[] = []
    for (const batch of batches) wanted.push(await float.run(batch))
    return { batches, wanted }
  } finally {
    await float.release()
  }
}

/**
 * Output noise of a model with some of its activations and weights in float. Each question has a model of its own, so that it is
 * answered by the integer kernels that will run: loading a model costs less than rounding in float, batch by batch.
 */
export class Switchboard {
  readonly switches: readonly Switch[]
  readonly #job: SwitchboardJob
  readonly #measured: Measured
  readonly #signal: number

  /** @param switches - what is to have a switch; the rest stays rounded */
  constructor(job: SwitchboardJob, measured: Measured, switches: readonly Switch[]) {
    this.switches = switches
    this.#job = job
    this.#measured = measured
    this.#signal = measured.wanted.reduce((sum, batch) => sum + energy(batch), 0)
  }

  /** Output noise with these in float. */
  async noise(inFloat: ReadonlySet<Switch>): Promise<Noise> {
    const batches = await this.#run(inFloat, () => false)
    return { total: this.#signal > 0 ? sum(batches) / this.#signal : 0, batches }
  }

  /**
   * The part of a noise that is gone with these in float.
   * @param isClear - whether a part found on the first batches says enough, so that the others need not run
   */
  async part(noise: Noise, inFloat: ReadonlySet<Switch>, isClear: (part: number) => boolean): Promise<number> {
    const partOf = (left: readonly number[]): number => 1 - sum(left) / sum(noise.batches.slice(0, left.length))
    return partOf(await this.#run(inFloat, (left) => left.length >= FIRST_BATCHES && isClear(partOf(left))))
  }

  /** Energy of the noise in each batch. */
  async #run(inFloat: ReadonlySet<Switch>, isEnough: (noise: readonly number[]) => boolean): Promise<readonly number[]> {
    const { batches, wanted } = this.#measured
    const session = await this.#job.open(this.#graph(inFloat), PATIENT)
    try {
      const noise: number[] = []
      for (const [i, batch] of batches.entries()) {
        noise.push(difference(wanted[i] ?? {}, await session.run(batch)))
        if (isEnough(noise)) break
      }
      return noise
    } finally {
      await session.release()
    }
  }

  #graph(inFloat: ReadonlySet<Switch>): Graph {
    const { decisions } = this.#job
    const graph = this.#job.graph.clone()
    upgradeOpset(graph, 13)
    const activations = new Map(decisions.activations)
    const floatWeights = new Set<string>()
    for (const { kind, points } of inFloat) {
      for (const point of points) {
        if (kind === 'weight') floatWeights.add(point)
        else activations.delete(point)
      }
    }
    emitQdq(graph, { ...decisions, activations, sites: decisions.sites.map((record) => ({ ...record })) }, { floatWeights })
    return graph
  }
}

/** One switch for all activations that share a scale, and one for each weight that an integer kernel multiplies. */
export function switchesOf({ points, decisions }: SwitchboardJob, weights: readonly string[]): readonly Switch[] {
  const groups = new Map<string, string[]>()
  for (const { id, group } of points) {
    if (decisions.activations.has(id)) groups.set(group, [...(groups.get(group) ?? []), id])
  }
  return [...[...groups.values()].map((ids) => ({ kind: 'activations', points: ids }) as const), ...weights.map((site) => ({ kind: 'weight', points: [site] }) as const)]
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0)
}

function energy(batch: Batch): number {
  let sum = 0
  for (const { data } of Object.values(batch)) if (data instanceof Float32Array) for (const v of data) sum += v * v
  return sum
}

function difference(want: Batch, got: Batch): number {
  let sum = 0
  for (const [name, { data }] of Object.entries(want)) {
    const other = got[name]?.data
    if (!(data instanceof Float32Array) || !(other instanceof Float32Array)) continue
    for (let i = 0; i < data.length; i++) sum += ((data[i] ?? 0) - (other[i] ?? 0)) ** 2
  }
  return sum
}
