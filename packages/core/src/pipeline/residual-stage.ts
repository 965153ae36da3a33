import type { TransformAlgorithm, TransformSite } from '../contract/v2/algorithm.js'
import type { ApplyResult, ModelHost, Transform } from '../contract/v2/host.js'
import { throwIfAborted } from '../errors.js'
import type { TransformReport } from '../report/report.js'
import { carryOut } from './carry-out.js'
import type { StageContext } from './context.js'
import type { SitePlan } from './plan.js'

type Quantized = Extract<SitePlan, { action: 'quantize' }>

/** Runs one transform algorithm over the residual streams of a model, each as a whole: sites that stay in float turn as well. */
export async function residualStage(host: ModelHost, algorithm: TransformAlgorithm, plans: readonly Quantized[], context: StageContext): Promise<readonly TransformReport[]> {
  const label = `${algorithm.name}@${algorithm.version}`
  const { residual } = host.capabilities
  const streams = (await residual?.streams()) ?? []
  if (residual === undefined || streams.length === 0) {
    context.warnings.push(`${label}: ${host.name} finds no residual stream in this model, nothing was turned`)
    return []
  }
  const reports: TransformReport[] = []
  for (const [done, { id, channels, readers, writers, reason }] of streams.entries()) {
    throwIfAborted(context.signal, label)
    context.onProgress({ phase: 'transform', done, total: streams.length, item: id })
    if (reason !== undefined) {
      reports.push({ group: id, algorithm: label, applied: [], reason })
      continue
    }
    const stands = new Map<string, TransformSite['stream']>(writers.map((site) => [site, { role: 'writes' }]))
    for (const { site, gain } of readers) stands.set(site, { role: 'reads', ...(gain === undefined ? {} : { gain }) })
    const sites: TransformSite[] = []
    for (const { site, scheme } of plans) {
      const stream = stands.get(site.id)
      if (stream !== undefined) sites.push({ id: site.id, kind: site.kind, weight: site.weight, tensor: await host.readWeight(site.id), scheme, stream })
    }
    const result = await algorithm.plan({
      group: { id, channels, producer: 'norm' },
      sites,
      statistics: {},
      linalg: context.linalg,
      seed: context.seed,
      ...(context.signal === undefined ? {} : { signal: context.signal }),
    })
    const turn = async (transform: Transform): Promise<ApplyResult> => (transform.kind === 'rotate' ? residual.rotate(id, transform) : { how: 'refused', reason: `a residual stream takes rotations, not ${transform.kind}` })
    reports.push(await carryOut(turn, { id }, label, result, context))
  }
  context.onProgress({ phase: 'transform', done: streams.length, total: streams.length })
  return reports
}
