import type { ActivationPoint, Batch, BatchSource } from '@lowbit/core'
import { valueInfo, writeOnnx } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import type { OrtModule, SessionOptions } from '../ort.js'
import { upgradeOpset } from '../prepare/upgrade-opset.js'
import { createSession, type Session } from '../session.js'
import type { StaticDecisions } from './decisions.js'
import { emitQdq } from './qdq.js'

/** What a switchboard is built from. */
export interface SwitchboardJob {
  readonly ort: OrtModule
  /** The float model; becomes part of the switchboard: pass a clone. */
  readonly graph: Graph
  readonly decisions: StaticDecisions
  readonly points: readonly ActivationPoint[]
  readonly session?: SessionOptions
}

/** Output noise of a model with some of its activations in float, measured again and again with one session. */
export class Switchboard {
  /** Groups of points that are switched together: those that share a scale. */
  readonly groups: readonly string[]
  readonly #session: Session
  readonly #flags: ReadonlyMap<string, string>
  readonly #batches: readonly Batch[]
  readonly #wanted: readonly Batch[]
  readonly #signal: number

  private constructor(session: Session, flags: ReadonlyMap<string, string>, batches: readonly Batch[], wanted: readonly Batch[]) {
    this.#session = session
    this.#flags = flags
    this.groups = [...flags.keys()]
    this.#batches = batches
    this.#wanted = wanted
    this.#signal = wanted.reduce((sum, batch) => sum + energy(batch), 0)
  }

  /** @param count - how many batches of the data are used */
  static async open(job: SwitchboardJob, data: BatchSource, count: number): Promise<Switchboard> {
    const batches: Batch[] = []
    for await (const batch of data) {
      if (batches.length >= count) break
      batches.push(batch)
    }
    const float = await createSession(job.ort, writeOnnx(job.graph.clone().toModel()), job.session)
    const wanted: Batch[] = []
    try {
      for (const batch of batches) wanted.push(await float.run(batch))
    } finally {
      await float.release()
    }
    const { graph } = job
    upgradeOpset(graph, 13)
    const flags = new Map<string, string>()
    const switches = new Map<string, string>()
    for (const { id, group } of job.points) {
      if (!job.decisions.activations.has(id)) continue
      const flag = flags.get(group) ?? graph.freshName(`lowbit_switch_${flags.size}`)
      flags.set(group, flag)
      switches.set(id, flag)
    }
    emitQdq(graph, job.decisions, { switches })
    for (const flag of flags.values()) graph.proto.input.push(valueInfo(flag, 'bool', []))
    // Above `basic`, ONNX Runtime moves DequantizeLinear through Where and rounds what was switched off.
    const session = await createSession(job.ort, writeOnnx(graph.toModel()), { ...job.session, graphOptimizationLevel: 'basic' })
    return new Switchboard(session, flags, batches, wanted)
  }

  /** Energy of the output noise over that of the signal, with these groups in float. */
  async noise(inFloat: ReadonlySet<string>): Promise<number> {
    const switches = Object.fromEntries([...this.#flags].map(([group, flag]) => [flag, { dtype: 'bool', shape: [], data: Uint8Array.of(inFloat.has(group) ? 0 : 1) } as const]))
    let noise = 0
    for (const [i, batch] of this.#batches.entries()) noise += difference(this.#wanted[i] ?? {}, await this.#session.run({ ...batch, ...switches }))
    return this.#signal > 0 ? noise / this.#signal : 0
  }

  release(): Promise<void> {
    return this.#session.release()
  }
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
