import { batchMoments, LowbitError, planTraining, tensor, updateRunning, type FloatPart, type HostTensor, type Json, type Ops, type TrainingLayer, trainingRecipeJson, type TrainingRecipe, type WatchedTensor } from '@lowbit/core'
import { normsAfterSites } from '../layers/batch-norm.js'
import { wrapCall, type Around } from '../layers/call.js'
import { findSites } from '../layers/find-sites.js'
import type { LayerSite } from '../layers/layer-site.js'
import { toMatrix } from '../layers/matrix.js'
import { separableConv2D } from '../layers/separable.js'
import { expectExportable } from '../host/layers-host.js'
import { siteState } from '../host/site-state.js'
import { tfjsOps } from '../ops/tfjs-ops.js'
import type { Layer, LayersModel, Tensor, TfCore } from '../tf.js'
import { noTape } from '../ops/no-tape.js'
import { Penalties } from './penalties.js'
import { folded, fromOriented, latentMatrix, orientedMatrix, prepareSite, startFromWeights, type PreparedSite } from './prepared-site.js'
import { Watch } from './watch.js'
import { collectVariables } from './collect-variables.js'

/**
 * The user's own model with fake quantization in place. `compile`, `fit`, `trainOnBatch`, `variableGrads`, callbacks and saving
 * work as before: learned scales are variables of the layers, so that optimizers train them and `save` writes them.
 */
export interface Prepared {
  /** The same object that went in. */
  readonly model: LayersModel
  readonly sites: readonly PreparedSite[]
  /** Every layer or activation that stays in float, and why. */
  readonly float: readonly FloatPart[]
  /** The recipe as plain data, with the versions of its algorithms. */
  readonly recipe: Json
  /** Training steps so far. Set by checkpoints. */
  step: number
  /** Called at the start of each training step (from the second on, the optimizer has then changed the weights). */
  onStep(callback: (step: number) => void): void
  /** Sum of the algorithms' loss terms of the last forward pass, for own training loops; `fit` adds them by itself. */
  penalty(): Tensor
  /** Adds a term to the loss of the current training step; for code that runs inside its forward pass. */
  addPenalty(term: Tensor): void
  /** Weight `[N, K]`, channel-major columns, that the forward pass computes with. @throws LOWBIT_NOT_FOUND */
  fakeWeight(site: string): HostTensor<'float32'>
  /** Bias `[N]` that it adds, BatchNorm folded in; null where the layer has none. @throws LOWBIT_NOT_FOUND */
  bias(site: string): Float32Array | null
  /** Brings weights up to date with what an algorithm demands of them after the last optimizer step (clipping). Forward passes do so by themselves. */
  settle(): void
  /** Keeps the sums that `watched` gives, from the next training step on. @returns stops it. */
  watch(): () => void
  /** Sums of the tensors of the last training step, in the order they were computed: what `stopOnDivergence` looks through. */
  watched(): Iterable<WatchedTensor>
  /** The sums themselves, scalars that belong to the prepared model: one of all of them says whether a step was sound without reading each. */
  watchedSums(): readonly Tensor[]
  /** Runs `f` with the fake quantization switched off: the float model, BatchNorm layers and all. */
  inFloat<R>(f: () => R): R
  /** Takes the fake quantization and its variables out: a float model with the latent weights as they stand. */
  restore(): void
  /** Called by `restore`, before the rest: for what else was put about the layers. */
  onRestore(undo: () => void): void
}

export interface PrepareOptions {
  /**
   * What the trained model will be written as: `dequantize`, `matmul-nbits`, `layers`. A layer or a scheme that has no place there is
   * refused now, not after the training. Default: any one of them will do; `false`: it will never be written.
   */
  readonly format?: string | false
}

/**
 * Puts fake quantization into a tf.LayersModel: on the weights of Dense, Conv1D, Conv2D, DepthwiseConv2D, SeparableConv2D,
 * Conv2DTranspose and Embedding layers, on the activations that they read, with a BatchNormalization that follows folded in.
 * Compile the model afterwards, so that the optimizer knows the new variables.
 *
 * @param recipe what is trained in low precision; algorithms are passed in it as values.
 * @throws LOWBIT_NOT_FOUND for an override that matches no layer, LOWBIT_UNSUPPORTED for a model without any site, or one that could
 * not be written in the end.
 */
export function prepare(tf: TfCore, model: LayersModel, recipe: TrainingRecipe, options: PrepareOptions = {}): Prepared {
  const { sites: found, skipped } = findSites(model)
  if (found.length === 0) throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `model '${model.name}'`, found: 'no layer that can be quantized', expected: 'Dense, Conv1D, Conv2D, DepthwiseConv2D, SeparableConv2D, Conv2DTranspose or Embedding' })
  const ops = tfjsOps(tf)
  const plan = planTraining(found.map((site) => trainingLayer(site, recipe)), recipe, skipped)
  if (options.format !== false) {
    const schemes = new Map(plan.layers.flatMap((l, i) => (l.weight === undefined ? [] : [[found[i].id, l.weight.target.scheme] as const])))
    expectExportable(tf, model, options.format, schemes, { foldBatchNorm: recipe.batchNorm !== 'keep' })
  }
  const norms = recipe.batchNorm === 'keep' ? new Map() : normsAfterSites(model, found)
  const sites = plan.layers.flatMap((planned, i) => {
    const norm = planned.weight === undefined ? undefined : norms.get(found[i].id)
    return planned.weight === undefined && planned.activation === undefined ? [] : [prepareSite(tf, ops, found[i], planned, norm)]
  })
  const prepared = new PreparedModel(tf, ops, model, recipe, sites, plan.float)
  collectVariables(model)
  return prepared
}

/** Groups of a convolution lie along channel-major columns, as in every deployed form; other schemes take the kernel as it is stored. */
function trainingLayer(site: LayerSite, recipe: TrainingRecipe): TrainingLayer {
  const grouped = [recipe.weights, ...(recipe.overrides ?? []).map((o) => o.weights)].some((t) => t?.scheme.granularity.kind === 'group')
  const reorders = grouped && site.columnsPerChannel > 1 && site.weight.form !== 'depthwise'
  return {
    id: site.id,
    kind: site.weight.form === 'depthwise' ? 'depthwise' : site.weight.kind,
    op: site.op,
    rows: site.rows,
    columns: site.columns,
    orientation: site.weight.reshapes && !reorders ? 'KN' : 'NK',
    ...(site.input === undefined || site.weight.kind === 'embedding' ? {} : { input: site.input }),
  }
}

class PreparedModel implements Prepared {
  readonly model: LayersModel
  readonly sites: readonly PreparedSite[]
  readonly float: readonly FloatPart[]
  readonly recipe: Json
  readonly #tf: TfCore
  readonly #ops: Ops<Tensor>
  readonly #freezeBatchNorm: number
  /** Training step at which rounding starts. */
  readonly #start: number
  readonly #batchStatistics: boolean
  readonly #restores: (() => void)[] = []
  readonly #callbacks: ((step: number) => void)[] = []
  readonly #penalties: Penalties
  readonly #watch: Watch
  readonly #first: Layer | undefined
  #started = 0
  #firstCalls = 0
  #unsettled = false
  #addsPenalties = false
  #off = false

  constructor(tf: TfCore, ops: Ops<Tensor>, model: LayersModel, recipe: TrainingRecipe, sites: readonly PreparedSite[], float: readonly FloatPart[]) {
    this.#tf = tf
    this.#ops = ops
    this.model = model
    this.sites = sites
    this.float = float
    this.recipe = trainingRecipeJson(recipe)
    this.#batchStatistics = recipe.batchNorm === 'batch'
    this.#start = recipe.start ?? 0
    this.#freezeBatchNorm = recipe.freezeBatchNorm ?? Infinity
    this.#penalties = new Penalties(tf)
    this.#watch = new Watch(tf)
    this.#first = sites[0]?.site.layer
    const layers = new Set(sites.map(({ site }) => site.layer))
    for (const layer of layers) {
      const here = sites.filter(({ site }) => site.layer === layer)
      this.#restores.push(wrapCall(layer, this.#around(layer, here)))
      if (here.some(({ weight, activation }) => weight?.fakeQuant.penalty !== undefined || activation?.fakeQuant.penalty !== undefined)) {
        this.#restores.push(this.#penalties.addTo(here[0].site.owner))
      }
    }
    for (const { norm } of sites) if (norm !== undefined) this.#restores.push(wrapCall(norm.layer, (x, _, next) => (this.#off ? next(x) : tf.clone(x))))
    for (const { weight, activation } of sites) for (const part of [weight, activation]) if (part !== undefined) this.#restores.push(() => part.held.remove())
  }

  get step(): number {
    return this.#started
  }

  set step(step: number) {
    this.#started = step
    this.#firstCalls = 0
  }

  onStep(callback: (step: number) => void): void {
    this.#callbacks.push(callback)
  }

  penalty(): Tensor {
    return this.#penalties.sum()
  }

  addPenalty(term: Tensor): void {
    if (!this.#addsPenalties) this.#restores.push(this.#penalties.addTo(this.sites[0].site.owner))
    this.#addsPenalties = true
    this.#penalties.add(term)
  }

  settle(): void {
    this.#settle(this.#started <= this.#start)
  }

  /** @param starts - no step with rounding was trained yet: scales are those that the weights as they stand would start with */
  #settle(starts: boolean): void {
    this.#unsettled = false
    for (const at of this.sites) {
      if (starts && this.#start > 0) startFromWeights(this.#tf, this.#ops, at)
      const { project } = at.weight?.fakeQuant ?? {}
      if (at.weight === undefined || project === undefined) continue
      this.#tf.tidy(() => {
        const matrix = noTape(this.#tf, () => at.weight?.fakeQuant.project?.(this.#ops, orientedMatrix(this.#tf, at, at.site.variable.read())) ?? at.site.variable.read())
        at.site.variable.write(fromOriented(this.#tf, at, matrix))
      })
    }
  }

  inFloat<R>(f: () => R): R {
    const before = this.#off
    this.#off = true
    try {
      return f()
    } finally {
      this.#off = before
    }
  }

  fakeWeight(id: string): HostTensor<'float32'> {
    if (this.#unsettled) this.settle()
    const at = this.#site(id)
    const values = this.#tf.tidy(() => {
      const latent = latentMatrix(this.#tf, this.#ops, at)
      const seen = at.weight === undefined ? latent : this.#quantized(at.weight, latent, this.#started, false)
      return toMatrix(this.#tf, at.site, fromOriented(this.#tf, at, seen)).dataSync<'float32'>()
    })
    return tensor('float32', [at.site.rows, at.site.columns], Float32Array.from(values))
  }

  bias(id: string): Float32Array | null {
    const { site, norm } = this.#site(id)
    return siteState(this.#tf, site, norm, id).bias ?? null
  }

  #site(id: string): PreparedSite {
    const found = this.sites.find((s) => s.site.id === id)
    if (found === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: 'prepared layer', found: id, expected: this.sites.map((s) => s.site.id).join(', ') })
    return found
  }

  watch(): () => void {
    return this.#watch.start()
  }

  watched(): Iterable<WatchedTensor> {
    return this.#watch.tensors()
  }

  watchedSums(): readonly Tensor[] {
    return this.#watch.sums()
  }

  onRestore(undo: () => void): void {
    this.#restores.push(undo)
  }

  restore(): void {
    this.#penalties.clear()
    this.#watch.clear()
    for (const undo of this.#restores.splice(0).reverse()) undo()
    collectVariables(this.model)
  }

  #around(layer: Layer, sites: readonly PreparedSite[]): Around {
    return (input, keywords, next) =>
      this.#tf.tidy(() => {
        if (this.#off) return next(input)
        const training = keywords['training'] === true
        const step = this.#begin(layer, sites[0].site.calls, training)
        const { activation } = sites[0].site.weight.form === 'pointwise' ? {} : sites[0]
        if (training) this.#watch.see(sites[0].site.id, 'input', input)
        const x = activation === undefined ? input : this.#quantized(activation, input, step, training)
        const replaced: Record<string, Tensor> = {}
        for (const at of sites) {
          if (at.weight === undefined) continue
          const { weight, bias } = this.#matrix(at, x, step, training, next)
          const seen = this.#quantized(at.weight, weight, step, training)
          if (training) {
            this.#watch.see(at.site.id, 'weight', weight)
            this.#watch.see(at.site.id, 'fake-quantized weight', seen)
          }
          replaced[at.site.weight.member] = fromOriented(this.#tf, at, seen)
          if (bias !== undefined) replaced['bias'] = bias
        }
        const between = sites.find(({ site }) => site.weight.form === 'pointwise')
        const y = between?.activation === undefined ? next(x, replaced) : separableConv2D(this.#tf, layer, x, replaced, (middle) => this.#between(between, middle, step, training))
        if (training) this.#watch.see(sites[sites.length - 1].site.id, 'output', y)
        return y
      })
  }

  /** What a pointwise convolution reads. */
  #between({ site, activation }: PreparedSite, middle: Tensor, step: number, training: boolean): Tensor {
    if (training) this.#watch.see(site.id, 'input', middle)
    return activation === undefined ? middle : this.#quantized(activation, middle, step, training)
  }

  /** Counts training steps: one begins when the first prepared layer is called in training mode. */
  #begin(layer: Layer, calls: number, training: boolean): number {
    const first = layer === this.#first
    // Before rounding starts nothing reads the scales.
    if (this.#unsettled && (!training || first)) this.#settle(this.#started === this.#start)
    if (!training) return this.#started
    if (first) {
      if (this.#firstCalls % calls === 0) {
        this.#penalties.clear()
        this.#watch.clear()
        for (const callback of this.#callbacks) callback(this.#started)
        this.#started++
        this.#unsettled = true
      }
      this.#firstCalls++
    }
    return this.#started - 1
  }

  #quantized(part: NonNullable<PreparedSite['weight']>, x: Tensor, step: number, training: boolean): Tensor {
    const state = part.held.state(step, training)
    if (training && part.fakeQuant.penalty !== undefined) this.#penalties.add(part.fakeQuant.penalty(this.#ops, x, state))
    return part.fakeQuant.forward(this.#ops, x, state)
  }

  /** What is fake-quantized: the kernel, or with a BatchNorm folded in by the batch's or the moving statistics. */
  #matrix(at: PreparedSite, x: Tensor, step: number, training: boolean, next: (input: Tensor) => Tensor): { weight: Tensor; bias?: Tensor } {
    const { norm } = at
    if (norm === undefined) return { weight: latentMatrix(this.#tf, this.#ops, at) }
    const running = { mean: norm.mean.read(), variance: norm.variance.read() }
    if (!training || !this.#batchStatistics || step >= this.#freezeBatchNorm) return folded(this.#tf, this.#ops, at, norm, running)
    const bare = next(x)
    const moments = batchMoments(this.#ops, bare)
    const moved = updateRunning(this.#ops, running, moments, 1 - norm.momentum)
    norm.mean.write(moved.mean)
    norm.variance.write(moved.variance)
    return folded(this.#tf, this.#ops, at, norm, moments)
  }
}
