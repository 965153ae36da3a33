import type { ActivationPoint, Batch, BatchSource } from '@lowbit/core'
import { valueInfo } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import type { SessionOptions } from '../ort.js'
import { upgradeOpset } from '../prepare/upgrade-opset.js'
import type { Session } from '../session.js'
import type { StaticDecisions } from './decisions.js'
import { emitQdq } from './qdq.js'

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

/** Runs the float model on the first batches of the data. */
export async function measureFloat(job: Pick<SwitchboardJob, 'open' | 'graph'>, data: BatchSource, count: number): Promise<Measured> {
  const batches: Batch[] = []
  for await (const batch of data) {
    if (batches.length >= count) break
    batches.push(batch)
  }
  const float = await job.open(job.graph, {})
  try {
    const wanted: Batch[] = []
    for (const batch of batches) wanted.push(await float.run(batch))
    return { batches, wanted }
  } finally {
    await float.release()
  }
}

/** Output noise of a model with some of its activations and weights in float, measured again and again with one session. */
export class Switchboard {
  readonly switches: readonly Switch[]
  readonly #session: Session
  readonly #flags: ReadonlyMap<Switch, string>
  readonly #measured: Measured
  readonly #signal: number

  private constructor(session: Session, flags: ReadonlyMap<Switch, string>, measured: Measured) {
    this.#session = session
    this.#flags = flags
    this.switches = [...flags.keys()]
    this.#measured = measured
    this.#signal = measured.wanted.reduce((sum, batch) => sum + energy(batch), 0)
  }

  /** @param switches - what is to have a switch; the rest stays rounded */
  static async open(job: SwitchboardJob, measured: Measured, switches: readonly Switch[]): Promise<Switchboard> {
    const graph = job.graph.clone()
    upgradeOpset(graph, 13)
    const flags = new Map<Switch, string>()
    const tensors = new Map<string, string>()
    const weights = new Map<string, string>()
    for (const one of switches) {
      const flag = graph.freshName(`lowbit_switch_${flags.size}`)
      flags.set(one, flag)
      for (const point of one.points) (one.kind === 'weight' ? weights : tensors).set(point, flag)
    }
    emitQdq(graph, { ...job.decisions, sites: job.decisions.sites.map((record) => ({ ...record })) }, { switches: tensors, weightSwitches: weights })
    for (const flag of flags.values()) graph.proto.input.push(valueInfo(flag, 'bool', []))
    // Above `basic`, ONNX Runtime moves DequantizeLinear through Where and rounds what was switched off.
    return new Switchboard(await job.open(graph, { graphOptimizationLevel: 'basic' }), flags, measured)
  }

  /** Energy of the output noise over that of the signal, with these in float. */
  async noise(inFloat: ReadonlySet<Switch>): Promise<number> {
    const flags = Object.fromEntries([...this.#flags].map(([one, flag]) => [flag, { dtype: 'bool', shape: [], data: Uint8Array.of(inFloat.has(one) ? 0 : 1) } as const]))
    let noise = 0
    for (const [i, batch] of this.#measured.batches.entries()) noise += difference(this.#measured.wanted[i] ?? {}, await this.#session.run({ ...batch, ...flags }))
    return this.#signal > 0 ? noise / this.#signal : 0
  }

  release(): Promise<void> {
    return this.#session.release()
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
