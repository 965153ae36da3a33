import type { TransformResult } from '../contract/v2/algorithm.js'
import type { ApplyResult, FoldGroup, Transform } from '../contract/v2/host.js'
import type { TransformReport } from '../report/report.js'
import type { StageContext } from './context.js'

/**
 * Applies what a transform algorithm planned for a fold group or stream, and says what became of it.
 * Each transform was planned for a model with those before it: behind one that is refused none is applied.
 * @param apply - how the host applies one there
 * @param label - `name@version` of the algorithm
 */
export async function carryOut(apply: (transform: Transform) => Promise<ApplyResult>, { id: group, refused = {} }: Pick<FoldGroup, 'id' | 'refused'>, label: string, result: TransformResult, context: StageContext): Promise<TransformReport> {
  const applied: string[] = []
  const reasons: string[] = result.skip === undefined ? [] : [result.skip]
  // All of a plan or nothing of it: what is known to be refused is looked at before anything is applied.
  const known = result.transforms.map(({ kind }) => refused[kind]).find((reason) => reason !== undefined)
  if (known !== undefined) reasons.push(known)
  for (const transform of known === undefined ? result.transforms : []) {
    const outcome = await apply(transform)
    if (outcome.reason !== undefined) reasons.push(outcome.reason)
    if (outcome.how === 'refused') {
      if (applied.length > 0) context.warnings.push(`${group}: ${transform.kind} refused after ${applied.join(', ')}: ${outcome.reason ?? 'no reason given'}`)
      break
    }
    applied.push(`${transform.kind} ${outcome.how}`)
  }
  context.warnings.push(...(result.warnings ?? []).map((w) => `${group}: ${w}`))
  return {
    group,
    algorithm: label,
    applied,
    ...(reasons.length === 0 ? {} : { reason: reasons.join('; ') }),
    ...(result.notes === undefined ? {} : { notes: result.notes }),
  }
}
