import type { TransformResult } from '../contract/v2/algorithm.js'
import type { ApplyResult, Transform } from '../contract/v2/host.js'
import type { TransformReport } from '../report/report.js'
import type { StageContext } from './context.js'

/**
 * Applies what a transform algorithm planned for a fold group or stream, and says what became of it.
 * Each transform was planned for a model with those before it: behind one that is refused none is applied.
 * @param apply - how the host applies one there
 * @param label - `name@version` of the algorithm
 */
export async function carryOut(apply: (transform: Transform) => Promise<ApplyResult>, group: string, label: string, result: TransformResult, context: StageContext): Promise<TransformReport> {
  const applied: string[] = []
  const reasons: string[] = result.skip === undefined ? [] : [result.skip]
  for (const transform of result.transforms) {
    const outcome = await apply(transform)
    if (outcome.how !== 'refused') applied.push(`${transform.kind} ${outcome.how}`)
    if (outcome.reason !== undefined) reasons.push(outcome.reason)
    if (outcome.how === 'refused') break
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
