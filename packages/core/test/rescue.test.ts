import { describe, expect, it } from 'vitest'
import { AbstractHost, expectDType, int8, quantize, weightScheme, type Batch, type EmitOptions, type ModelHost, type Report } from '@lowbit/core'
import { toyBatches, toyHost } from '@lowbit/core/testkit'

/** A toy model in which one channel of one activation is ten thousand times as large as the others. */
async function ruined(host: ModelHost = toyHost()): Promise<ModelHost> {
  const bias = new Float32Array(host.sites().find((s) => s.id === 'v')?.weight.rows ?? 0)
  bias[0] = 3e3
  await host.addBias('v', bias)
  const down = await host.readWeight('o')
  // What reads that channel takes it back, so that only its rounding is seen.
  for (let n = 0; n < down.shape[0]; n++) down.data[n * down.shape[1]] = 0
  await host.writeWeight('o', down)
  return host
}

/** The same host without its own way to answer what outputs would be. */
const plain = (host: ModelHost): ModelHost =>
  new Proxy(host, {
    get: (target, name) => {
      if (name === 'capabilities') return {}
      const member: unknown = Reflect.get(target, name, target)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })

const OPTIONS = { weights: int8(), activations: { dtype: 'uint8', method: 'minmax' }, calibration: toyBatches({ batches: 3 }) } as const
const found = (report: Report): readonly string[] => [...report.activations, ...report.sites].filter((row) => row.reason?.startsWith('rescued')).map((row) => row.id)
const noise = (want: Batch, got: Batch): number => {
  let signal = 0
  let error = 0
  for (const [name, { data }] of Object.entries(want)) data.forEach((v, i) => { signal += Number(v) ** 2; error += (Number(v) - Number(got[name].data[i])) ** 2 })
  return 10 * Math.log10(signal / error)
}

describe('what ruins a model', () => {
  it.each([['by deciding, running and deciding back', plain], ['by the host itself', (host: ModelHost) => host]] as const)('is found and given 16 bits: %s', async (_, way) => {
    const [batch] = OPTIONS.calibration
    const want = await (await ruined()).run(batch)
    const left = way(await ruined())
    await quantize(left, { ...OPTIONS, activations: { ...OPTIONS.activations, rescue: false } })
    const host = way(await ruined())
    const { report } = await quantize(host, OPTIONS)
    expect(found(report)).toContain('v.out')
    expect(report.activations.find((a) => a.id === 'v.out')).toMatchObject({ status: 'quantized', dtype: 'uint16' })
    expect(noise(want, await host.run(batch))).toBeGreaterThan(noise(want, await left.run(batch)) + 10)
  })

  it('is the same whichever way the question is answered, and the decisions stand as before it', async () => {
    const reports = await Promise.all([plain, (host: ModelHost) => host].map(async (way) => (await quantize(way(await ruined()), OPTIONS)).report))
    expect(reports[0].activations).toEqual(reports[1].activations)
    expect(reports[0].warnings).toEqual(reports[1].warnings)
  })

  it('changes nothing in a model that is well', async () => {
    const { report } = await quantize(toyHost(), { ...OPTIONS, weights: weightScheme('int16'), activations: { dtype: 'uint16', method: 'minmax' } })
    expect(found(report)).toEqual([])
    expect(report.warnings.join()).not.toMatch(/rescue/)
  })
})

/** One linear layer of one weight, and the logarithm of what it gives: -Infinity wherever that is not positive. */
class LogHost extends AbstractHost {
  readonly name = 'log-host'
  readonly version = '1.0.0'
  readonly config = {}
  readonly supports = { formats: ['none'], nativeStatistics: [], statistics: ['range', 'histogram'], transforms: [], siteKinds: ['linear'], activations: true, capabilities: [], tolerance: { relative: 1e-6, reason: 'none' } } as const
  readonly #inner: ModelHost

  constructor(inner: ModelHost) {
    super()
    this.#inner = inner
  }

  inputs = (): ReturnType<ModelHost['inputs']> => this.#inner.inputs()
  outputs = (): ReturnType<ModelHost['outputs']> => [...this.#inner.outputs(), { name: 'log' }]
  sites = (): ReturnType<ModelHost['sites']> => this.#inner.sites()
  foldGroups = (): [] => []
  size = (): number => this.#inner.size()
  override activations = (): ReturnType<ModelHost['activations']> => this.#inner.activations()
  override assign(site: string, q: Parameters<ModelHost['assign']>[1]): void {
    super.assign(site, q)
    this.#inner.assign(site, q)
  }
  override assignActivation(point: string, params: Parameters<ModelHost['assignActivation']>[1]): void {
    super.assignActivation(point, params)
    this.#inner.assignActivation(point, params)
  }
  protected acceptsScheme = (): { ok: true } => ({ ok: true })
  protected weightOf = async ({ id }: { id: string }): Promise<Float32Array<ArrayBuffer>> => Float32Array.from((await this.#inner.readWeight(id)).data)
  protected setWeight = (): void => undefined
  protected shiftOutput = (): void => undefined
  protected transform = (): { how: 'refused' } => ({ how: 'refused' })
  protected collect = (...given: Parameters<ModelHost['observe']>): ReturnType<ModelHost['observe']> => this.#inner.observe(...given)
  protected async compute(batch: Batch, model: 'current' | 'original'): Promise<Batch> {
    const outputs = await this.#inner.run(batch, { model })
    const [first] = Object.values(outputs)
    return { ...outputs, log: { dtype: 'float32', shape: first.shape, data: expectDType(first, 'float32', 'y').data.map((v) => Math.log(Math.max(0, v))) } }
  }
  protected write = async (_: string, options: EmitOptions): ReturnType<ModelHost['emit']> => this.#inner.emit('toy-json', options)
}

describe('outputs that are not finite', () => {
  it('do not switch the search off: they are left out, and a warning says so', async () => {
    const { report } = await quantize(new LogHost(await ruined()), OPTIONS)
    expect(found(report)).toContain('v.out')
    expect(report.warnings.filter((w) => w.includes("'log'"))).toEqual([expect.stringMatching(/\d+ of \d+ values of the float model are not finite/)])
  })
})
