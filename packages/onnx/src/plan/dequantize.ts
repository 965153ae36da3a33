import { neverAccepted, YES } from './accept.js'
import { decidedWeights } from './by-weight.js'
import { dequantized } from './dequantized.js'
import type { Format } from './format.js'
import { isGatherable, looked } from './lookups.js'
import { planReads } from './reads.js'

/**
 * Weight-only with standard operators: a DequantizeLinear in front of each weight. Every kind of site, every opset.
 *
 * Settings: `expand` `run` (default) or `load`, see {@link Expand}.
 */
export const dequantize: Format = {
  name: 'dequantize',
  accepts: (_record, scheme) => neverAccepted(scheme) ?? YES,
  plan(job, build) {
    const read = planReads(job, build)
    for (const { owner, sites, q } of decidedWeights(read)) {
      // A table that an output layer reads too is dequantized in any case.
      if (sites.every((s) => s.op === 'Gather') && isGatherable(q)) build.weight(looked(sites, owner, q))
      else build.weight(dequantized(owner, sites, q, job.graph.opset(), job.settings.expand, undefined, read.inputOf))
    }
  },
}
