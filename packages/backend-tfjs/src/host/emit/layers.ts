import { elementCount, isIntegerCode, LowbitError, partOf, PLAN_VERSION, Sha256, zeroPointsOf, type Artifact, type Codes, type EmitOptions, type Plan, type PlannedSite, type PlannedWeight, type QTensor } from '@lowbit/core'
import type { io } from '@tensorflow/tfjs-core'
import { layerVariable, type LayerVariable } from '../../layers/layer-variable.js'
import { fromMatrix } from '../../layers/matrix.js'
import type { SiteState } from '../site-state.js'
import { artifact } from './artifact.js'
import type { FloatModel } from '../float-model.js'
import type { LayersFormat, PlanContext } from './layers-format.js'

/** Why weights of finer schemes are stored as floats. */
const VALUES = 'tfjs layers hold codes with one scale a tensor only: its rounded values are stored in float32'

/**
 * TensorFlow.js's own format: `model.json` and its weights. Weights with one 8- or 16-bit scale a tensor are stored as codes, which
 * tfjs expands on loading; finer schemes have no place in the format and are stored as the float values of their codes. Activations
 * stay in float: tfjs layers compute in float32.
 */
export const layersFormat: LayersFormat = {
  format: 'layers',
  accepts: (_, scheme) => (scheme.granularity.kind === 'token' ? { ok: false, reason: 'weights have no scale a token' } : { ok: true }),
  plan(context) {
    expectLayers(context)
    const plan = planLayers(context)
    return {
      plan,
      weights: new Map(context.sites.flatMap(({ at, q }) => (q === undefined ? [] : [[at.id, q.values] as const]))),
      activations: new Map(),
      write: (options) => writeLayers(context, plan, options),
    }
  },
}

function planLayers({ sites, activations }: PlanContext): Plan {
  const weights = sites.flatMap(({ at, q }): PlannedWeight[] => {
    if (q === undefined) return []
    const type = codesType(q.tensor) ?? 'float32'
    const { shape } = at.variable
    const bytes = elementCount(shape) * { uint8: 1, uint16: 2, float32: 4 }[type]
    return [{ name: at.variable.originalName, sites: [at.id], shape: [at.rows, at.columns], form: type === 'float32' ? 'values' : 'codes', parts: [partOf(q.tensor)], tensors: [{ role: type === 'float32' ? 'values' : 'codes', type, shape, bytes }] }]
  })
  const byId = new Map(weights.flatMap((w) => w.sites.map((id) => [id, w] as const)))
  return {
    plan: PLAN_VERSION,
    format: 'layers',
    settings: {},
    sites: sites.map(({ at }): PlannedSite => {
      const weight = byId.get(at.id)
      if (weight === undefined) return { site: at.id, status: 'float', operator: at.op, input: 'float', reason: 'nothing was decided for it' }
      return { site: at.id, status: 'quantized', operator: at.op, weight: weight.name, input: 'float', ...(weight.form === 'values' ? { reason: VALUES } : {}) }
    }),
    weights,
    biases: [],
    activations: [...activations.keys()].map((id) => ({ id, where: 'nowhere', reason: 'tfjs layers compute in float32' })),
    notes: activations.size === 0 ? [] : [`${activations.size} quantized activations are left in float: tfjs layers compute in float32`],
  }
}

function writeLayers(context: PlanContext, { notes }: Plan, options: EmitOptions): Artifact {
  const values = layerValues(context)
  const specs: io.WeightsManifestEntry[] = []
  const chunks: Uint8Array[] = []
  for (const variable of context.model.weights) {
    const own = values.get(variable.originalName)
    const shape = variable.shape.map((s) => s ?? 1)
    const codes = own?.q === undefined ? undefined : tensorCodes(own.q, own.order)
    const data = codes?.codes ?? own?.data ?? Float32Array.from(variable.read().dataSync<'float32'>())
    specs.push({ name: variable.originalName, shape, dtype: 'float32', ...(codes === undefined ? {} : { quantization: codes.quantization }) })
    chunks.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    values.delete(variable.originalName)
  }
  // Biases of layers that had none.
  for (const [name, { data, shape }] of values) {
    specs.push({ name, shape, dtype: 'float32' })
    chunks.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  }
  const weights = join(chunks)
  const topology: unknown = context.model.toJSON(null, false)
  for (const site of context.sites) if (ownBias(site) === undefined && layerBias(site, context.sites) !== undefined && site.norm === undefined) setUseBias(topology, site.at.layer.name)
  const common = { format: 'layers-model', generatedBy: 'lowbit', convertedBy: null, modelTopology: topology, ...(options.provenance === undefined ? {} : { userDefinedMetadata: { 'lowbit.recipe': options.provenance.recipe } }) }
  const encode = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value))
  // Named after what it holds: another model in the same folder keeps its own.
  const name = `weights.${new Sha256().update(weights).hex().slice(0, 16)}.bin`
  const main = encode({ ...common, weightsManifest: [{ paths: [name], weights: specs }] })
  return artifact('layers', [{ bytes: main }, { name, bytes: weights }], notes, encode({ ...common, weightSpecs: specs, weightData: toBase64(weights) }))
}

function expectLayers(context: FloatModel): void {
  const inserted = [...context.inserted.keys()]
  if (inserted.length > 0) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `scale on '${inserted[0]}'`, found: 'no layer takes it, and the layers format has no place for it', fix: "emit 'dequantize' (ONNX), or leave this group out" })
  }
  const twice = repeated(context.model.weights.map((w) => w.originalName))
  if (twice !== undefined) {
    throw new LowbitError('LOWBIT_UNSUPPORTED', { thing: `model '${context.model.name}'`, found: `two variables named '${twice}'`, expected: 'a name for each: tfjs loads weights by name', fix: 'build layers inside a custom layer by calling them (apply), not by build(), so that their own names become part of it' })
  }
}

/** What `artifact.bytes()` of the layers format holds, for `tf.loadLayersModel(tf.io.fromMemory(…))`. @throws LOWBIT_FORMAT for anything else. */
export function readLayersArtifact(bytes: Uint8Array): io.ModelArtifacts {
  const parsed: unknown = JSON.parse(new TextDecoder().decode(bytes))
  if (!isWhole(parsed)) throw new LowbitError('LOWBIT_FORMAT', { thing: 'layers artifact', found: 'no topology, weight list and weight data', expected: "the bytes of an artifact of format 'layers'" })
  const data = Uint8Array.from(atob(parsed.weightData), (c) => c.charCodeAt(0))
  return { format: 'layers-model', modelTopology: parsed.modelTopology, weightSpecs: parsed.weightSpecs, weightData: data.buffer }
}

function isWhole(value: unknown): value is { modelTopology: object; weightSpecs: io.WeightsManifestEntry[]; weightData: string } {
  return typeof value === 'object' && value !== null && 'modelTopology' in value && 'weightSpecs' in value && Array.isArray(value.weightSpecs) && 'weightData' in value && typeof value.weightData === 'string'
}

function repeated(names: readonly string[]): string | undefined {
  return names.find((name, i) => names.indexOf(name) !== i)
}

interface LayerValue {
  readonly shape: number[]
  readonly data: Float32Array<ArrayBuffer>
  readonly q?: QTensor
  /** Elements of the stored kernel as indices into `[N, K]`. */
  readonly order?: Float32Array
}

/** Values of the variables that differ from the model's own, by name. */
function layerValues({ tf, sites, norms }: PlanContext): Map<string, LayerValue> {
  const values = new Map<string, LayerValue>()
  const set = (variable: LayerVariable | undefined, data: Float32Array): void => {
    if (variable !== undefined) values.set(variable.originalName, { shape: variable.shape, data: Float32Array.from(data) })
  }
  for (const site of sites) {
    const { at, norm } = site
    const stored = (data: Float32Array): Float32Array<ArrayBuffer> => tf.tidy(() => Float32Array.from(fromMatrix(tf, at, tf.tensor(data, [at.rows, at.columns])).dataSync<'float32'>()))
    const data = stored(site.q?.values ?? site.weight)
    const bias = layerBias(site, sites)
    values.set(at.variable.originalName, { shape: at.variable.shape, data, ...(site.q === undefined ? {} : { q: site.q.tensor, order: stored(Float32Array.from({ length: data.length }, (_, i) => i)) }) })
    if (norm !== undefined) {
      // The layer before does its work now: it only adds the bias.
      set(ownBias(site), new Float32Array(at.rows))
      set(norm.gamma, new Float32Array(at.rows).fill(1))
      set(norm.beta, new Float32Array(at.rows))
      set(norm.mean, (bias ?? new Float32Array(at.rows)).map((b) => -b))
      set(norm.variance, new Float32Array(at.rows).fill(1 - norm.epsilon))
    } else if (bias !== undefined) {
      values.set(ownBias(site)?.originalName ?? `${at.layer.name}/bias`, { shape: [at.rows], data: Float32Array.from(bias) })
    }
  }
  for (const [layer, { gamma, beta }] of norms) {
    set(layerVariable(layer, 'gamma'), gamma)
    if (beta !== undefined) set(layerVariable(layer, 'beta'), beta)
  }
  return values
}

/** A separable layer has no bias between its steps: one that was added there goes through the second step into the bias behind it. */
function layerBias(site: SiteState, sites: readonly SiteState[]): Float32Array | undefined {
  const { at, bias } = site
  if (at.weight.suffix === '/depthwise') return undefined
  const between = at.weight.form === 'pointwise' ? sites.find((s) => s.at.layer === at.layer && s.at.weight.suffix === '/depthwise')?.bias : undefined
  if (between === undefined) return bias
  const weight = site.q?.values ?? site.weight
  return Float32Array.from({ length: at.rows }, (_, n) => between.reduce((sum, b, k) => sum + weight[n * at.columns + k] * b, bias?.[n] ?? 0))
}

function ownBias({ at }: SiteState): LayerVariable | undefined {
  return at.weight.suffix === '/depthwise' ? undefined : layerVariable(at.layer, 'bias')
}

/** The type that a weight's codes are stored in; undefined where the format has no place for them. */
function codesType({ scheme, codes }: QTensor): 'uint8' | 'uint16' | undefined {
  if (scheme.granularity.kind !== 'tensor' || !isIntegerCode(scheme.dtype)) return undefined
  const { low, high } = reach(codes)
  return high - low > 255 ? 'uint16' : 'uint8'
}

function reach(codes: Codes): { readonly low: number; readonly high: number } {
  let low = Infinity
  let high = -Infinity
  for (const code of codes) {
    low = Math.min(low, code)
    high = Math.max(high, code)
  }
  return { low, high }
}

/** Codes of a tensor with one scale, as tfjs stores them: `value = code · scale + min`. */
function tensorCodes(q: QTensor, order: Float32Array | undefined): { codes: Uint8Array | Uint16Array; quantization: { dtype: 'uint8' | 'uint16'; scale: number; min: number } } | undefined {
  const dtype = codesType(q)
  if (dtype === undefined || order === undefined) return undefined
  const { low } = reach(q.codes)
  const scale = q.params.scales[0]
  const shifted = Array.from(order, (i) => q.codes[i] - low)
  const codes = dtype === 'uint16' ? Uint16Array.from(shifted) : Uint8Array.from(shifted)
  return { codes, quantization: { dtype, scale, min: (low - zeroPointsOf(q)[0]) * scale } }
}

function setUseBias(topology: unknown, name: string): void {
  if (typeof topology !== 'object' || topology === null) return
  if (Reflect.get(topology, 'name') === name && Reflect.has(topology, 'use_bias')) Reflect.set(topology, 'use_bias', true)
  for (const value of Object.values(topology)) setUseBias(value, name)
}

function join(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(chunks.reduce((sum, c) => sum + c.length, 0))
  let at = 0
  for (const chunk of chunks) {
    out.set(chunk, at)
    at += chunk.length
  }
  return out
}

function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000))
  return btoa(text)
}

