import { int4, int8, schemeBytes, weightBytes, type ModelHost, type Site } from '@lowbit/core'

/** What is inside a model, as data. */
export interface Inspection {
  readonly bytes: number
  readonly inputs: ReturnType<ModelHost['inputs']>
  readonly outputs: ReturnType<ModelHost['outputs']>
  readonly formats: readonly string[]
  readonly sites: readonly InspectedSite[]
  readonly skipped: ReturnType<ModelHost['skipped']>
}

export interface InspectedSite {
  readonly id: string
  readonly op: string
  readonly kind: string
  /** `[N, K]` */
  readonly shape: readonly [number, number]
  /** Bytes now, in int8 a channel, and in int4 groups of 32. A tied weight counts at its owner. */
  readonly bytes: number
  readonly int8: number
  readonly int4: number
  readonly tiedTo?: string
}

/** Looks into a model that is open; nothing is run, no weight is read. */
export function inspectModel(host: ModelHost): Inspection {
  return {
    bytes: host.size(),
    inputs: host.inputs(),
    outputs: host.outputs(),
    formats: host.supports.formats,
    sites: host.sites().map((site) => ({ id: site.id, op: site.op, kind: site.kind, shape: [site.weight.rows, site.weight.columns], ...sizes(site), ...(site.tiedTo === undefined ? {} : { tiedTo: site.tiedTo }) })),
    skipped: host.skipped(),
  }
}

function sizes(site: Site): Pick<InspectedSite, 'bytes' | 'int8' | 'int4'> {
  if (site.tiedTo !== undefined) return { bytes: 0, int8: 0, int4: 0 }
  const shape = [site.weight.rows, site.weight.columns]
  return { bytes: weightBytes(site), int8: schemeBytes(int8(), shape), int4: schemeBytes(int4({ group: 32 }), shape) }
}
