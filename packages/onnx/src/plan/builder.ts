import { PLAN_VERSION, type Json, type PlannedActivation, type PlannedBias, type PlannedSite, type PlannedWeight, type QTensor, type StoredTensor } from '@lowbit/core'
import type { SiteRecord } from '../sites/index.js'
import { fitHalf, withHalfScales } from './half-scales.js'
import { gridPart, type OnnxPlan, type OnnxWeight, stored, type WeightForm } from './onnx-plan.js'

/** A weight for the plan. */
export interface NewWeight {
  /** The site whose matrix says how the tensor lies. */
  readonly owner: SiteRecord
  readonly sites: readonly SiteRecord[]
  readonly q: QTensor
  readonly form: WeightForm
  readonly tensors: readonly StoredTensor[]
  /** Added to codes and zero points. Default 0. */
  readonly shift?: number
  /** What each site becomes. */
  readonly operator: string | ((record: SiteRecord) => string)
  readonly input?: PlannedSite['input'] | ((record: SiteRecord) => PlannedSite['input'])
  /** Why it is not what the format has for it. */
  readonly reason?: string | undefined | ((record: SiteRecord) => string | undefined)
}

/** Collects a plan. */
export class PlanBuilder {
  readonly #sites = new Map<string, PlannedSite>()
  readonly #weights: PlannedWeight[] = []
  readonly #biases: PlannedBias[] = []
  readonly #activations: PlannedActivation[] = []
  readonly #notes: string[] = []
  readonly #names = new Map<string, number>()
  readonly #halfScales: boolean
  #isHalved = false

  /** @param halfScales - scales are stored in float16 where they lose nothing to speak of */
  constructor(halfScales = false) {
    this.#halfScales = halfScales
  }

  weight({ owner, sites, q: decided, form, tensors: wished, shift = 0, operator, input = 'float', reason }: NewWeight): void {
    const tensors = this.#halfScales && fitHalf(decided) ? wished.map((t) => this.#halved(t)) : wished
    const q = tensors.some((t) => t.role === 'scales' && t.type === 'float16') ? withHalfScales(decided) : decided
    const name = this.#name(owner.site.weight.name)
    const weight: OnnxWeight = { name, sites: sites.map((r) => r.site.id), shape: [owner.matrix.rows, owner.matrix.columns], form, parts: [gridPart(q, shift, `weight of site '${owner.site.id}'`)], tensors }
    this.#weights.push(weight)
    for (const record of sites) {
      const why = typeof reason === 'function' ? reason(record) : reason
      this.#sites.set(record.site.id, {
        site: record.site.id,
        status: 'quantized',
        operator: typeof operator === 'string' ? operator : operator(record),
        weight: name,
        input: typeof input === 'string' ? input : input(record),
        ...(why === undefined ? {} : { reason: why }),
      })
    }
  }

  bias(bias: PlannedBias): void {
    this.#biases.push(bias)
  }

  activation(activation: PlannedActivation): void {
    this.#activations.push(activation)
  }

  note(sentence: string): void {
    this.#notes.push(sentence)
  }

  /** Scales, and nothing else: a `shift` is a product of them, and would lose more. */
  #halved(tensor: StoredTensor): StoredTensor {
    if (tensor.role !== 'scales' || tensor.type !== 'float32') return tensor
    if (!this.#isHalved) this.note('scales are stored in float16: each is off by at most 2^-11 of itself')
    this.#isHalved = true
    return stored(tensor.role, 'float16', tensor.shape)
  }

  build(format: string, settings: Readonly<Record<string, Json>>, opset: number, records: readonly SiteRecord[]): OnnxPlan {
    const sites = records.map(({ site }) => this.#sites.get(site.id) ?? ({ site: site.id, status: 'float', operator: site.op, input: 'float', reason: 'nothing was decided for it' } as const))
    return { plan: PLAN_VERSION, format, opset, settings, sites, weights: this.#weights, biases: this.#biases, activations: this.#activations, notes: this.#notes }
  }

  #name(wish: string): string {
    const seen = (this.#names.get(wish) ?? 0) + 1
    this.#names.set(wish, seen)
    return seen === 1 ? wish : `${wish}#${seen}`
  }
}
