import type { TransformAlgorithm } from '../contract/v2/algorithm.js'
import type { FoldGroup, ModelHost } from '../contract/v2/host.js'
import { throwIfAborted } from '../errors.js'
import type { TransformReport } from '../report/report.js'
import { batchCount } from './batches.js'
import { chunkByMemory, collect, type Wanted } from './collect.js'
import type { StageContext } from './context.js'
import { carryOut } from './carry-out.js'
import type { SitePlan } from './plan.js'
import { residualStage } from './residual-stage.js'

type Quantized = Extract<SitePlan, { action: 'quantize' }>

/** A fold group, with the planned sites among its members and what its algorithm needs of their input. */
type GroupWork = Wanted & { readonly group: FoldGroup; readonly members: readonly Quantized[] }

/** The fold groups that a transform algorithm is asked about; none for one whose scope are residual streams. */
export function transformWork(host: ModelHost, algorithm: TransformAlgorithm, plans: readonly Quantized[]): readonly GroupWork[] {
  if (algorithm.scope === 'residual') return []
  const byId = new Map(plans.map((p) => [p.site.id, p]))
  return host.foldGroups().flatMap((group) => {
    const members = group.sites.map((id) => byId.get(id)).filter((p) => p !== undefined)
    // A scale changes what every reader of the input sees: a group with a site outside the plan still moves as a whole.
    return members.length === 0 ? [] : [{ site: members[0].site, needs: algorithm.needs(members[0].scheme), group, members }]
  })
}

/**
 * Runs one transform algorithm over the fold groups, or over residual streams if that is its scope. Statistics are taken of the model as it stands, so that a second
 * transform sees what the first one left.
 * @param index - its place among the transforms
 */
export async function transformStage(host: ModelHost, algorithm: TransformAlgorithm, index: number, plans: readonly Quantized[], context: StageContext): Promise<readonly TransformReport[]> {
  if (algorithm.scope === 'residual') return residualStage(host, algorithm, plans, context)
  const label = `${algorithm.name}@${algorithm.version}`
  const work = transformWork(host, algorithm, plans)
  const reports: TransformReport[] = []
  let done = 0
  for (const chunk of chunkByMemory(work, context.maxMemory, batchCount(context.calibration))) {
    const statistics = await collect(host, chunk, context.calibration, context.observe, { stage: `transform ${index}`, cache: context.cache })
    await context.saveCache()
    for (const [i, { group, members }] of chunk.entries()) {
      throwIfAborted(context.signal, label)
      context.onProgress({ phase: 'transform', done: done++, total: work.length, item: group.id })
      const sites = []
      for (const { site, scheme } of members) {
        sites.push({ id: site.id, kind: site.kind, weight: site.weight, tensor: await host.readWeight(site.id), scheme })
      }
      const result = await algorithm.plan({
        group,
        sites,
        statistics: statistics[i],
        linalg: context.linalg,
        seed: context.seed,
        ...(context.signal === undefined ? {} : { signal: context.signal }),
      })
      reports.push(await carryOut((transform) => host.apply(group.id, transform), { id: group.id, refused: { ...unsupported(host), ...group.refused } }, label, result, context))
    }
  }
  context.onProgress({ phase: 'transform', done: work.length, total: work.length })
  return reports
}

/** Kinds of transforms that a host has no place for: known before the first of a plan is applied, so that none is. */
function unsupported({ name, supports }: ModelHost): FoldGroup['refused'] & object {
  const kinds = (['scale', 'rotate', 'clip'] as const).filter((kind) => !supports.transforms.includes(kind))
  return Object.fromEntries(kinds.map((kind) => [kind, `${name} has no place for a '${kind}'`]))
}
