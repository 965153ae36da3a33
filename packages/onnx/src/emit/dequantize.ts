import { pointWeightAt } from '../sites/index.js'
import { neverAccepted, YES } from './accept.js'
import { eachWeight } from './by-weight.js'
import { dequantizeWeight } from './dequantize-weight.js'
import type { EmitJob, Emitter } from './emitter.js'
import { expandSetting } from './expand-setting.js'
import { gatherCodes, isGatherable } from './gather-codes.js'

/**
 * Weight-only with standard operators: a DequantizeLinear in front of each weight. Every kind of site, every opset.
 *
 * Settings: `expand` `run` (default) or `load`, see {@link Expand}.
 */
export const dequantizeEmitter: Emitter = {
  format: 'dequantize',
  accepts: (_record, scheme) => neverAccepted(scheme) ?? YES,
  emit(job: EmitJob): void {
    const { graph } = job
    const expand = expandSetting(job.settings)
    eachWeight(job, ({ owner, sites, q }) => {
      // A table that an output layer reads too is dequantized in any case.
      if (sites.every((s) => s.op === 'Gather') && isGatherable(q)) gatherCodes(graph, sites, q)
      else pointWeightAt(graph, sites, dequantizeWeight(graph, owner, q, expand))
    })
  },
}
