import type { Artifact, Batch, ModelHost } from '../contract/v2/host.js'
import { isLowbitError, type LowbitError } from '../errors.js'
import type { QuantizeOptions } from '../pipeline/options.js'
import { quantize, type QuantizeResult } from '../pipeline/quantize.js'
import { type Plan, plannedBytes } from '../plan/plan.js'
import type { Report } from '../report/report.js'
import { artifactCases } from './artifact-cases.js'
import { distance } from './distance.js'
import { check, type Skipped, type TestRunner } from './runner.js'

/** An artifact that was opened again, by whatever runs it. */
export interface ReopenedModel {
  run(batch: Batch): Promise<Batch>
  /** Ids of the sites that the file holds in float; absent where the file does not say. */
  readonly floatSites?: readonly string[]
  /** Bytes on disk, where an artifact of several files is not what `bytes()` gives. */
  readonly size?: number
  /** Shape and bytes of every tensor in the file; absent where it does not say. */
  readonly tensors?: readonly { readonly shape: readonly number[]; readonly bytes: number }[]
  /** Tensors that the file rounds with parameters that stand in it; absent where it does not say. */
  readonly roundings?: number
  dispose(): Promise<void>
}

export interface ArtifactSuiteOptions {
  readonly runner: TestRunner
  readonly factory: () => Promise<ModelHost>
  readonly batches: readonly Batch[]
  /** Opens an artifact as its user would. */
  readonly reopen: (artifact: Artifact) => Promise<ReopenedModel>
  /** Most that an output of the artifact may differ from `run`, relative to its largest value. Default 0: the same bits. */
  readonly bound?: number
  /** Which of the cases are tried, by their place in the list: for the third model of a kind. Default: all. */
  readonly cases?: (index: number) => boolean
  readonly onSkip?: (skipped: Skipped) => void
}

/**
 * What the report says, what `run` computes and what the file holds are one thing: for every format of a host, with overrides, tied
 * weights, float sites, 16 bits, bias correction and static activations.
 */
export function artifactSuite({ runner, factory, batches, reopen, bound = 0, cases: isTried = () => true, onSkip }: ArtifactSuiteOptions): void {
  runner.describe('artifacts', () => {
    runner.it('compute what the host computes, and hold what the report says', async () => {
      const probe = await factory()
      const cases = artifactCases(probe, batches)
      const taken = new Map(probe.supports.formats.map((format) => [format, cases.filter(({ formats, options }) => (formats?.includes(format) ?? true) && takes(probe, format, options))] as const))
      await probe.dispose()
      for (const [format, those] of taken) {
        for (const { name, options } of those.filter((_, i) => isTried(i))) await named(`${format}, ${name}`, (title) => checkCase(title, { ...options, format }))
        check(those.length > 0, `${format}: none of ${cases.length} cases has a place in it`)
      }
    })
  })

  async function checkCase(name: string, options: QuantizeOptions): Promise<void> {
    const host = await factory()
    try {
      const quantized = await attempt(host, options)
      if (isLowbitError(quantized)) {
        onSkip?.({ test: `artifact: ${name}`, reason: quantized.message })
        return
      }
      const { artifact, report, plan } = quantized
      const kept = report.sites.filter((s) => s.status === 'quantized').reduce((sum, s) => sum + s.bytesAfter, 0)
      check(kept <= artifact.size, `${name}: the weights of the report take ${kept} bytes, the file ${artifact.size}`)
      if (plan !== undefined) checkPlan(name, plan, report)
      const reopened = await reopen(artifact)
      try {
        const size = reopened.size ?? artifact.bytes().length
        check(report.sizeAfter === size && artifact.size === size, `${name}: ${size} bytes in the file, ${artifact.size} and ${report.sizeAfter} are told`)
        if (reopened.floatSites !== undefined) {
          const told = report.sites.filter((s) => s.status === 'float').map((s) => s.id)
          check(sameSet(told, reopened.floatSites), `${name}: the report leaves [${told.join(', ')}] in float, the file [${reopened.floatSites.join(', ')}]`)
        }
        if (reopened.tensors !== undefined && plan !== undefined) checkTensors(name, plan, reopened.tensors)
        if (reopened.roundings !== undefined) {
          const told = new Set(plan === undefined ? report.activations.filter((a) => a.status === 'quantized').map((a) => a.id) : plan.activations.flatMap((a) => (a.where === 'written' || a.where === 'read' ? [a.id] : []))).size
          check(reopened.roundings === told, `${name}: ${told} activations are told to be rounded, the file rounds ${reopened.roundings}`)
        }
        for (const batch of batches) {
          const moved = distance(await host.run(batch), await reopened.run(batch))
          check(moved <= bound, `${name}: the artifact is ${moved} away from run()`)
        }
      } finally {
        await reopened.dispose()
      }
    } finally {
      await host.dispose()
    }
  }
}

/** A format that has no place for what is asked of it says so; everything else that goes wrong is a fault. */
async function attempt(host: ModelHost, options: QuantizeOptions): Promise<QuantizeResult | LowbitError> {
  try {
    return await quantize(host, options)
  } catch (error) {
    if (isLowbitError(error, 'LOWBIT_ARGUMENT') || isLowbitError(error, 'LOWBIT_NOTHING')) return error
    throw error
  }
}

/** Whatever goes wrong in a case says in which. */
async function named(name: string, work: (name: string) => Promise<void>): Promise<void> {
  try {
    await work(name)
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new Error(message.startsWith(name) ? message : `${name}: ${message}`, { cause })
  }
}

/** Whether any site has a place in the format as it is asked for, and activations where they are. */
function takes(host: ModelHost, format: string, { weights, activations }: Omit<QuantizeOptions, 'format'>): boolean {
  if (activations !== undefined && !(host.supports.staticFormats?.includes(format) ?? true)) return false
  return host.sites().some((s) => s.tiedTo === undefined && host.accepts(s.id, weights, format).ok)
}

/** The report tells of sites, bytes and activations what the plan says. */
function checkPlan(name: string, plan: Plan, report: Report): void {
  const ids = (status: 'quantized' | 'float'): readonly string[] => plan.sites.filter((s) => s.status === status).map((s) => s.site)
  const known = new Set(report.sites.map((s) => s.id))
  for (const status of ['quantized', 'float'] as const) {
    const told = report.sites.filter((s) => s.status === status).map((s) => s.id)
    const planned = ids(status).filter((id) => known.has(id))
    check(sameSet(told, planned), `${name}: ${status} in the report are [${told.join(', ')}], in the plan [${planned.join(', ')}]`)
  }
  for (const { id, status, reason } of report.sites) check(status === 'quantized' || (reason !== undefined && reason !== ''), `${name}: ${id} stays in float without a reason`)
  const kept = report.sites.filter((s) => s.status === 'quantized').reduce((sum, s) => sum + s.bytesAfter, 0)
  const planned = plan.weights.reduce((sum, w) => sum + plannedBytes(w), 0)
  check(kept === planned, `${name}: the weights of the report take ${kept} bytes, those of the plan ${planned}`)
  const rounded = new Set(plan.activations.flatMap((a) => (a.where === 'written' || a.where === 'read' ? [a.id] : [])))
  for (const { id, status, reason } of report.activations) {
    check((status === 'quantized') === rounded.has(id), `${name}: activation '${id}' is ${status} in the report, and ${rounded.has(id) ? '' : 'not '}rounded in the plan`)
    check(status === 'quantized' || (reason !== undefined && reason !== ''), `${name}: activation '${id}' stays in float without a reason`)
  }
}

/** Every tensor of the plan is in the file, each once. */
function checkTensors(name: string, plan: Plan, tensors: NonNullable<ReopenedModel['tensors']>): void {
  const held = tensors.map(({ shape, bytes }) => `[${shape.join(', ')}] of ${bytes} bytes`)
  for (const weight of plan.weights) {
    for (const { role, shape, bytes } of weight.tensors) {
      const at = held.indexOf(`[${shape.join(', ')}] of ${bytes} bytes`)
      check(at >= 0, `${name}: ${role} of '${weight.name}', [${shape.join(', ')}] of ${bytes} bytes, is not in the file`)
      held.splice(at, 1)
    }
  }
}

function sameSet(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((x) => b.includes(x))
}
