import { type Acceptance, type QTensor, type Scheme, zeroPointsOf } from '@lowbit/core'
import { operandName, type SiteRecord } from '../sites/index.js'
import { hasIntegerProduct } from '../static/index.js'
import { neverAccepted, YES } from './accept.js'
import type { NewWeight } from './builder.js'
import { decidedWeights } from './by-weight.js'
import { dequantized } from './dequantized.js'
import type { Format } from './format.js'
import { isGatherable, looked } from './lookups.js'
import { stored } from './onnx-plan.js'
import type { WeightStorage } from './settings.js'
import { plainGranularity, storedType } from './stored-codes.js'

/**
 * Dynamic int8: each input is rounded to uint8 with a scale found at run time (DynamicQuantizeLinear), then MatMulInteger or
 * ConvInteger. Transposed convolutions and embeddings, which have no such operator, keep float arithmetic over int8 weights.
 *
 * Settings: `weightStorage` `uint8` (default): int8 codes moved up by 128, with zero point 128. On x86 without VNNI the
 * kernels for unsigned × signed add pairs of products in 16 bits and saturate; unsigned × unsigned does not. `int8` stores
 * them as they are: exact there only with `reduceRange`.
 */
export const dynamic: Format = {
  name: 'dynamic',
  // From 13 on DequantizeLinear has axes as well.
  oldest: { below: 11, to: 13, reason: 'older ones have no DynamicQuantizeLinear' },
  accepts: (record, scheme) => neverAccepted(scheme) ?? acceptance(record, scheme),
  plan(job, build) {
    const storage = job.settings.weightStorage
    const readers = new Map<string, string[]>()
    for (const { owner, sites, q } of decidedWeights(job, true)) {
      if (owner.op === 'Gather' && isGatherable(q)) build.weight(looked(sites, owner, q))
      else if (!hasIntegerProduct(owner.op)) build.weight(dequantized(owner, sites, q, job.graph.opset(), 'run', owner.op === 'ConvTranspose' ? 'ConvTranspose has no integer operator' : undefined))
      else {
        build.weight(integers(owner, sites, plainGranularity(q), storage))
        for (const record of sites) {
          const input = operandName(job.graph, record, 'data')
          readers.set(input, [...(readers.get(input) ?? []), record.anchor])
        }
      }
    }
    for (const [id, names] of readers) build.activation({ id, where: 'run', dtype: 'uint8', readers: names })
  },
}

function acceptance(record: SiteRecord, scheme: Scheme): Acceptance {
  if (!hasIntegerProduct(record.op)) return YES
  const type = storedType(scheme)
  // ConvInteger has one zero point for the whole weight.
  const symmetric = scheme.symmetric || record.op === 'Conv'
  const isUnsigned = (type === 'uint8' || type === 'uint4') && !(symmetric && !scheme.symmetric)
  const perChannel: Scheme = { dtype: isUnsigned ? 'uint8' : 'int8', granularity: { kind: 'channel', axis: 0 }, symmetric, ...(scheme.reduceRange === undefined ? {} : { reduceRange: scheme.reduceRange }) }
  if (type === 'int16' || type === 'uint16') return { ok: false, reason: 'integer kernels take 8-bit weights', instead: perChannel }
  if (scheme.granularity.kind === 'group' && scheme.granularity.size < record.matrix.columns) return { ok: false, reason: 'integer kernels take one scale a tensor or channel', instead: perChannel }
  if (scheme.zeroPoint === 'float') return { ok: false, reason: 'integer kernels take whole zero points', instead: perChannel }
  if (record.op === 'Conv' && !scheme.symmetric && scheme.granularity.kind !== 'tensor') {
    return { ok: false, reason: 'ConvInteger takes one zero point for the whole weight', instead: perChannel }
  }
  return YES
}

function integers(owner: SiteRecord, sites: readonly SiteRecord[], q: QTensor, storage: WeightStorage): NewWeight {
  const { matrix } = owner
  const isSigned = storedType(q.scheme)?.startsWith('int') ?? true
  const shift = storage === 'uint8' ? (isSigned ? 128 : 0) : isSigned ? 0 : -128
  const isConv = owner.op === 'Conv'
  const perChannel = q.scheme.granularity.kind === 'channel'
  // [N, 1, 1] for images, [N] for matrices: broadcast over the output.
  const broadcast = !perChannel ? [] : isConv ? [matrix.rows, ...matrix.shape.slice(2).map(() => 1)] : [matrix.rows]
  const zeros = zeroPointsOf(q)
  const isSame = zeros.every((z) => z === zeros[0])
  const zeroPoints = zeros.every((z) => z + shift === 0) ? [] : [stored('zeroPoints', storage, isSame ? [] : [matrix.rows])]
  return {
    owner,
    sites,
    q,
    form: 'integers',
    shift,
    tensors: [stored('codes', storage, isConv ? matrix.shape : [matrix.columns, matrix.rows]), stored('scales', 'float32', broadcast), ...zeroPoints],
    operator: isConv ? 'ConvInteger' : 'MatMulInteger',
    input: 'dynamic',
  }
}
