import type { DType, FoldGroup, ResidualStream, Site } from '@lowbit/core'
import { GGUF_TYPES } from '@lowbit/formats/gguf'
import { layerName, type LayerRole } from '../architecture/index.js'
import type { ModelConfig } from '../config/model-config.js'
import { architectureOf, partsOf, type Part } from '../forward/parts.js'
import type { WeightSource } from '../weights/weight-source.js'

/** Products of a layer that read one input, in the order they run. */
const STAGES = [
  { input: 'attention', roles: ['q', 'k', 'v'] },
  { input: 'attention.output', roles: ['o'] },
  { input: 'mlp', roles: ['gate', 'up'] },
  { input: 'mlp.hidden', roles: ['down'] },
] as const satisfies readonly { readonly input: string; readonly roles: readonly LayerRole[] }[]

/** What the head reads. */
const OUTPUT = 'output'

/**
 * The weights of a decoder as sites, named as its parts are: `embed`, `layers.0.q` … `layers.0.down`, `head`. A tied head is a site
 * of its own that shares the embedding's weight. The four stages of a layer are blocks: in sequential mode each sees what the
 * rounding of those before it left (GPTQ's "true sequential"). The embedding comes last where it is the head too, for the head's
 * input is what it is rounded for.
 */
export function modelSites({ config, typeOf }: Pick<WeightSource, 'config' | 'typeOf'>): readonly Site[] {
  const parts = new Map(partsOf(config).map((part) => [part.name, part]))
  const last = config.layers * STAGES.length + 1
  const describe = (name: string, part: Part | undefined, more: Pick<Site, 'kind' | 'op' | 'input' | 'block'> & { readonly tiedTo?: string }): Site => {
    const [rows, columns] = part?.shape ?? [0, 0]
    return {
      id: name,
      ...more,
      weight: { name: part?.name ?? name, rows, columns, shape: [rows, columns], groups: 1, columnsPerChannel: 1, ...stored(part === undefined ? '' : typeOf(part), rows * columns) },
      output: { name: `${name}.out` },
    }
  }
  const embed = describe('embed', parts.get('embed'), { kind: 'embedding', op: 'Embedding', input: { name: 'tokens' }, block: config.tied ? last : 0 })
  const layers = Array.from({ length: config.layers }, (_, layer) =>
    STAGES.flatMap(({ input, roles }, stage) => roles.map((role) => {
      const name = layerName(layer, role)
      return describe(name, parts.get(name), { kind: 'linear', op: 'Linear', input: { name: `layers.${layer}.${input}` }, block: 1 + layer * STAGES.length + stage })
    })),
  ).flat()
  const head = describe('head', parts.get(config.tied ? 'embed' : 'head'), { kind: 'linear', op: 'Linear', input: { name: OUTPUT }, block: last, ...(config.tied ? { tiedTo: 'embed' } : {}) })
  return [embed, ...layers, head]
}

const FLOATS: Readonly<Record<string, DType>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16', F64: 'float64' }

function stored(type: string, count: number): { readonly dtype: DType; readonly bytes?: number } {
  const dtype = Object.hasOwn(FLOATS, type) ? FLOATS[type] : undefined
  if (dtype !== undefined) return { dtype }
  const block = GGUF_TYPES.find((t) => t.name === type)
  return { dtype: 'float32', ...(block === undefined ? {} : { bytes: (count / block.block) * block.bytes }) }
}

/** A fold group with what takes the inverse of a scale. */
export interface FoldRecord {
  readonly group: FoldGroup
  /** Vector whose elements are divided, where the producer is a norm. */
  readonly gain?: string
  /** Matrix (and bias) whose rows are divided, where the producer is a linear layer. */
  readonly linear?: string
}

const STREAM_TURNS = 'what a norm produces can be turned with the whole residual stream only'

/**
 * Where scales can be folded: a norm's gain before q, k, v and before gate and up, the rows of v before o (where each head of values
 * is read by one head of queries, or all that read it share the scale), the rows of up before down, the last norm before a head of
 * its own.
 */
export function foldRecords(config: ModelConfig): readonly FoldRecord[] {
  const { norms } = architectureOf(config)
  const { width, heads, kvHeads, headSize, hidden, layers } = config
  const shared = heads === kvHeads ? undefined : `${heads / kvHeads} heads of queries read each head of values: a scale a channel cannot go into its rows`
  const records: FoldRecord[] = []
  for (let layer = 0; layer < layers; layer++) {
    const of = (role: LayerRole): string => layerName(layer, role)
    const add = (input: string, sites: readonly LayerRole[], channels: number, more: Taker): void => {
      const id = `layers.${layer}.${input}`
      records.push(foldRecord({ id, sites: sites.map(of), input: { name: id }, channels }, more))
    }
    add('attention', ['q', 'k', 'v'], width, { producer: 'norm', gain: of('attention.norm'), refused: { rotate: STREAM_TURNS } })
    if (norms.sub) add('attention.output', ['o'], heads * headSize, { producer: 'norm', gain: of('attention.sub-norm'), refused: { rotate: STREAM_TURNS } })
    else if (shared === undefined) add('attention.output', ['o'], heads * headSize, { producer: 'linear', linear: of('v') })
    else add('attention.output', ['o'], heads * headSize, { producer: 'none', reason: shared, refused: { scale: shared, rotate: shared } })
    add('mlp', ['gate', 'up'], width, { producer: 'norm', gain: of('mlp.norm'), refused: { rotate: STREAM_TURNS } })
    const gated = 'what is multiplied by a gate, element by element, cannot be turned'
    if (norms.sub) add('mlp.hidden', ['down'], hidden, { producer: 'norm', gain: of('mlp.sub-norm'), refused: { rotate: STREAM_TURNS } })
    else add('mlp.hidden', ['down'], hidden, { producer: 'linear', linear: of('up'), refused: { rotate: gated } })
  }
  const tied = 'the head shares its weight with the embedding, which reads something else'
  records.push(foldRecord({ id: OUTPUT, sites: ['head'], input: { name: OUTPUT }, channels: width }, config.tied ? { producer: 'none', reason: tied, refused: { scale: tied, rotate: tied } } : { producer: 'norm', gain: 'norm', refused: { rotate: STREAM_TURNS } }))
  return records
}

type Taker = Pick<FoldGroup, 'producer' | 'reason' | 'refused'> & Omit<FoldRecord, 'group'>

function foldRecord(group: Omit<FoldGroup, 'producer'>, { gain, linear, ...more }: Taker): FoldRecord {
  return { group: { ...group, ...more }, ...(gain === undefined ? {} : { gain }), ...(linear === undefined ? {} : { linear }) }
}

/** The residual stream: everything between the embedding and the head reads it through an RMS norm and adds to it. */
export function residualStream(config: ModelConfig, gainOf: (vector: string) => Float32Array): ResidualStream {
  const { norms } = architectureOf(config)
  const layers = Array.from({ length: config.layers }, (_, layer) => layer)
  const reads = (layer: number, norm: LayerRole, roles: readonly LayerRole[]): ResidualStream['readers'] => roles.map((role) => ({ site: layerName(layer, role), gain: gainOf(layerName(layer, norm)).slice() }))
  const reason = norms.post
    ? 'a norm with gains stands between the products that write it and the addition'
    : config.tied
      ? 'the head shares its weight with the embedding, and the gain of the last norm can go into only one of them'
      : undefined
  return {
    id: 'residual',
    channels: config.width,
    readers: [...layers.flatMap((layer) => [...reads(layer, 'attention.norm', ['q', 'k', 'v']), ...reads(layer, 'mlp.norm', ['gate', 'up'])]), { site: 'head', gain: gainOf('norm').slice() }],
    writers: ['embed', ...layers.flatMap((layer) => [layerName(layer, 'o'), layerName(layer, 'down')])],
    ...(reason === undefined ? {} : { reason }),
  }
}

/** Gains that become 1 when the stream is turned. */
export function streamGains(config: ModelConfig): readonly string[] {
  return [...Array.from({ length: config.layers }, (_, layer) => [layerName(layer, 'attention.norm'), layerName(layer, 'mlp.norm')]).flat(), 'norm']
}
