import type { RoundingAlgorithm, TransformAlgorithm } from '../contract/v2/algorithm.js'
import type { Batch, ModelHost, Site } from '../contract/v2/host.js'
import type { RangeObserver } from '../contract/v2/observer.js'
import type { Json } from '../contract/v2/plugin.js'
import { scaleColumns } from '../linalg/channels.js'
import { minmaxObserver } from '../observer/range-observers.js'
import type { Declaration } from '../options/declaration.js'
import type { QuantizeOptions, StaticActivations } from '../pipeline/options.js'
import { rtn } from '../rounding/rtn.js'
import type { Scheme } from '../scheme.js'
import { int3, int4, int8, uint4, uint8, weightScheme } from '../weight-scheme.js'

/** What is quantized, and how. */
export interface ArtifactCase {
  readonly name: string
  readonly options: Omit<QuantizeOptions, 'format'>
  /** Formats that it is about. Absent: every one that takes it. */
  readonly formats?: readonly string[]
}

/**
 * Everything that a host says of itself, once: schemes of weights, types and methods of activations, every value of every setting, and what
 * decisions are mixed with: float sites, overrides, bias correction, transforms that are refused, ranges and codes so bad that they
 * are given up.
 */
export function artifactCases(host: ModelHost, batches: readonly Batch[]): readonly ArtifactCase[] {
  const owners = host.sites().filter((s) => s.tiedTo === undefined)
  const [first] = owners
  const last = owners.at(-1)
  const weights = SCHEMES.map(([name, scheme]): ArtifactCase => ({ name, options: { weights: scheme } }))
  const floatFirst = { match: literal(first), weights: null }
  const mixed: ArtifactCase[] = [
    { name: 'one site in float, one in int4', options: { weights: int8(), overrides: [floatFirst, ...(last === first ? [] : [{ match: literal(last), weights: int4({ group: 32 }) }])] } },
    { name: 'bias correction', options: { weights: int8({ perTensor: true }), biasCorrection: true, calibration: batches } },
    { name: 'a transform for every group', options: { weights: int8(), transforms: [scaleAndClip()] } },
    { name: 'a transform for every group, int4 in groups, bias correction', options: { weights: int4({ group: 16 }), transforms: [scaleAndClip()], biasCorrection: true, calibration: batches } },
    { name: 'a transform twice, one site in float', options: { weights: int8(), transforms: [scaleAndClip(), scaleAndClip()], overrides: [floatFirst] } },
  ]
  return [...weights, ...mixed, ...settingCases(host, batches), ...(host.supports.activations ? staticCases(host, batches, floatFirst, owners) : [])]
}

/** Schemes of weights, by what a user would call them. */
export const SCHEMES: readonly (readonly [string, Scheme])[] = [
  ['int8 a channel', int8()],
  ['int8 a tensor', int8({ perTensor: true })],
  ['int8 of a reduced range', int8({ reduceRange: true })],
  ['uint8 with zero points', uint8()],
  ['uint8 a tensor with a zero point', uint8({ perTensor: true })],
  ['int4 a channel', int4()],
  ['int4 in groups', int4({ group: 16 })],
  ['int4 in groups that do not divide', int4({ group: 24 })],
  ['uint4 in groups with zero points', uint4({ group: 16 })],
  ['uint4 with float zero points', { ...uint4({ group: 16 }), zeroPoint: 'float' }],
  ['int8 in groups', int8({ group: 32 })],
  ['int3 in groups', int3({ group: 16 })],
  ['ternary', weightScheme('ternary')],
  ['binary', weightScheme('binary')],
  ['nf4 in groups', weightScheme('nf4', { group: 16 })],
  ['16-bit weights', { ...int8(), dtype: 'int16' }],
]

function staticCases(host: ModelHost, batches: readonly Batch[], floatFirst: { readonly match: string; readonly weights: null }, owners: readonly Site[]): readonly ArtifactCase[] {
  const activations: StaticActivations = { dtype: 'uint8', method: 'minmax' }
  const common = { weights: int8(), activations, calibration: batches }
  const point = host.activations()[0]?.id
  const linear = owners.find((s) => s.kind === 'linear')
  const types = (['uint8', 'int8', 'uint16', 'int16'] as const).map((dtype): ArtifactCase => ({ name: `static ${dtype}`, options: { ...common, activations: { ...activations, dtype } } }))
  const methods = (['moving-average', 'percentile', 'entropy', 'mse'] as const).map((method): ArtifactCase => ({ name: `static, ${method}`, options: { ...common, activations: { dtype: 'uint8', method } } }))
  return [
    ...types,
    ...methods,
    { name: 'static, symmetric', options: { ...common, activations: { ...activations, symmetric: true } } },
    { name: 'static, without a search for fallbacks', options: { ...common, activations: { ...activations, rescue: false } } },
    { name: 'static, one site in float', options: { ...common, overrides: [floatFirst] } },
    { name: 'static, bias correction', options: { ...common, biasCorrection: true } },
    { name: 'static, transforms', options: { ...common, transforms: [scaleAndClip()] } },
    { name: 'static, int4 weights in groups', options: { ...common, weights: int4({ group: 16 }) } },
    { name: 'static, 16-bit weights', options: { ...common, weights: { ...int8(), dtype: 'int16' } } },
    { name: 'static, ranges so bad that they are given up', options: { ...common, activations: { dtype: 'uint8', observer: crushing() } } },
    ...(linear === undefined ? [] : [{ name: 'static, a weight so bad that it is given up', options: { ...common, overrides: [{ match: literal(linear), rounding: ruinous() }] } }]),
    ...(point === undefined ? [] : [
      { name: 'static, one activation in float', options: { ...common, overrides: [{ match: point, activation: null }] } },
      { name: 'static, one activation given', options: { ...common, overrides: [{ match: point, activation: { dtype: 'uint8' as const, scale: 0.0625, zeroPoint: 127 } }] } },
    ]),
    ...(host.capabilities.operators === undefined ? [] : [
      { name: 'static, every operator', options: { ...common, activations: { ...activations, operators: 'all' as const } } },
      { name: 'static, every operator, without a search for fallbacks', options: { ...common, activations: { ...activations, operators: 'all' as const, rescue: false } } },
      { name: 'static signed, every operator', options: { ...common, activations: { dtype: 'int8' as const, method: 'minmax' as const, operators: 'all' as const } } },
    ]),
  ]
}

/** Every value of every setting, in the formats that read it: over weights in groups, plain ones, and with activations where they have a place. */
function settingCases(host: ModelHost, batches: readonly Batch[]): readonly ArtifactCase[] {
  const { settings = {}, formats, staticFormats = formats, activations } = host.supports
  return Object.entries(settings).flatMap(([name, declared]) => {
    const readers = formatsOf(declared) ?? formats
    return valuesOf(declared).flatMap((value): ArtifactCase[] => {
      const given = { settings: { [name]: value } }
      const title = `${name} ${JSON.stringify(value)}`
      const rounded = readers.filter((f) => staticFormats.includes(f))
      return [
        { name: `${title}, int8`, formats: readers, options: { weights: int8(), ...given } },
        { name: `${title}, int4 in groups`, formats: readers, options: { weights: int4({ group: 16 }), ...given } },
        { name: `${title}, uint4 in groups with zero points`, formats: readers, options: { weights: uint4({ group: 32 }), ...given } },
        ...(activations && rounded.length > 0 ? [{ name: `${title}, static`, formats: rounded, options: { weights: int8(), activations: { dtype: 'int8' as const, method: 'minmax' as const }, calibration: batches, ...given } }] : []),
      ]
    })
  })
}

function formatsOf({ when }: Declaration): readonly string[] | undefined {
  const condition = when?.['format']
  return condition === undefined || condition === 'given' ? undefined : condition.map(String)
}

function valuesOf(declared: Declaration): readonly Json[] {
  if (declared.type === 'choice') return declared.values
  if (declared.type === 'boolean') return [true, false]
  return declared.default === undefined ? [] : [declared.default]
}

/** Scales every group and cuts the weights off that were scaled for it: where the scale is refused, the cut must not be made. */
function scaleAndClip(): TransformAlgorithm {
  return {
    kind: 'transform', name: 'scale-and-clip', version: '1.0.0', apiVersion: 2, config: {},
    needs: () => [],
    async plan({ group, sites }) {
      const scales = Float32Array.from({ length: group.channels }, (_, i) => [0.25, 0.5, 2, 4, 8][i % 5])
      return {
        transforms: [
          { kind: 'scale', scales },
          ...sites.map(({ id, tensor, weight }) => {
            const scaled = scaleColumns(tensor.data, weight, scales)
            const limit = 0.9 * scaled.reduce((most, w) => Math.max(most, Math.abs(w)), 0)
            return { kind: 'clip' as const, site: id, weight: { dtype: 'float32' as const, shape: tensor.shape, data: scaled.map((w) => Math.max(-limit, Math.min(limit, w))) } }
          }),
        ],
      }
    },
  }
}

/** An observer that leaves every third activation next to no range. */
function crushing(): RangeObserver<'range'> {
  const honest = minmaxObserver()
  let started = 0
  return {
    ...honest,
    name: 'crushing',
    start(codes) {
      const stream = honest.start(codes)
      return started++ % 3 === 0 ? { add: (seen) => stream.add(seen), range: () => ({ min: -1e-6, max: 1e-6 }), get bytes() { return stream.bytes } } : stream
    },
  }
}

/** Codes that have nothing to do with the weight. */
function ruinous(): RoundingAlgorithm {
  const honest = rtn()
  return {
    ...honest,
    name: 'ruinous',
    async round(job) {
      const { q } = await honest.round(job)
      return { q: { ...q, codes: q.codes.map((code, i) => (i % 2 === 0 ? -code : code)) } }
    },
  }
}

/** A pattern that matches one id, whatever stands in it. */
function literal(site: Site | undefined): string {
  return `/^${(site?.id ?? '').replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')}$/`
}
