import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { metadata, readOnnx, writeNpz } from '@lowbit/formats'
import { randomTensor, sandbox, type Sandbox } from './support/sandbox.js'

let box: Sandbox
beforeEach(() => {
  box = sandbox()
})
afterEach(() => box.remove())

const size = (name: string): number => statSync(box.path(name)).size

describe('lowbit inspect', () => {
  it('lists sites and what they would save', async () => {
    const { code, out } = await box.lowbit('inspect', box.path('model.onnx'))
    expect(code).toBe(0)
    expect(out).toContain('first')
    expect(out).toContain('48 × 64')
    expect(out).toContain('matmul-nbits')
  })

  it('prints JSON that a program can read', async () => {
    const { out } = await box.lowbit('inspect', box.path('model.onnx'), '--json')
    const found: unknown = JSON.parse(out)
    expect(found).toMatchObject({ inputs: [{ name: 'x', shape: ['n', 64] }], sites: [{ id: 'first', shape: [48, 64], bytes: 12288 }, { id: 'second' }] })
  })
})

it.each([['inspect', 'model.onnx', '-q'], ['sensitivity', 'model.onnx', '-c', 'data.npz', '-q'], ['compare', 'model.onnx', 'model.onnx', '--quiet']])('lowbit %s %s %s: says its result and nothing else', async (...args) => {
  const { code, out, err } = await box.lowbit(...args.map((a) => (a.includes('.') ? box.path(a) : a)))
  expect(code).toBe(0)
  expect(out).not.toBe('')
  expect(err).toBe('')
})

describe('lowbit inspect --plan', () => {
  it('prints how the defaults would store every weight, and writes nothing', async () => {
    const before = readdirSync(box.path('.'))
    const { code, out } = await box.lowbit('inspect', box.path('model.onnx'), '--plan')
    expect(code).toBe(0)
    expect(readdirSync(box.path('.'))).toEqual(before)
    const plan = JSON.parse(out) as { format: string; sites: { site: string; status: string }[]; weights: { sites: string[]; parts: { kind: string }[]; tensors: { role: string; bytes: number }[] }[] }
    expect(plan.format).toBe('dynamic')
    expect(plan.sites.map((s) => [s.site, s.status])).toEqual([['first', 'quantized'], ['second', 'quantized']])
    expect(plan.weights[0]).toMatchObject({ sites: ['first'], parts: [{ kind: 'grid' }] })
    expect(plan.weights[0].tensors.find((t) => t.role === 'codes')?.bytes).toBe(48 * 64)
  })
})

describe('lowbit quantize', () => {
  it.each([
    ['nothing said', [], 'model.int8.onnx'],
    ['int4', ['-w', 'int4', '-g', '16'], 'model.int4.onnx'],
    ['int8 weights', ['-f', 'dequantize'], 'model.int8.onnx'],
    ['HQQ', ['-w', 'int4', '-a', 'hqq', '-g', '16'], 'model.uint4.onnx'],
    ['GPTQ', ['-w', 'int4', '-g', '16', '-c', 'data.npz'], 'model.int4.onnx'],
    ['static int8', ['-c', 'data.npz'], 'model.int8.onnx'],
  ])('makes a smaller model that runs like the first: %s', async (_, args, output) => {
    const paths = args.map((a) => (a.endsWith('.npz') ? box.path(a) : a))
    const done = await box.lowbit('quantize', box.path('model.onnx'), ...paths, '-o', box.path(output))
    expect(done.err).toBe('')
    expect(done.code).toBe(0)
    expect(size(output)).toBeLessThan(0.75 * size('model.onnx'))
    const { out, code } = await box.lowbit('compare', box.path('model.onnx'), box.path(output), '-d', box.path('data.npz'), '--json')
    expect(code).toBe(0)
    const { outputs } = JSON.parse(out) as { outputs: { sqnr: number; cosine: number }[] }
    expect(outputs[0].cosine).toBeGreaterThan(0.98)
    expect(outputs[0].sqnr).toBeLessThan(200)
  })

  it('leaves nothing beside the model but the output', async () => {
    await box.lowbit('quantize', box.path('model.onnx'), '-w', 'int4', '-g', '16', '-a', 'gptq', '-c', box.path('data.npz'))
    expect(readdirSync(box.folder).sort()).toEqual(['data.npz', 'model.int4.onnx', 'model.onnx'])
  })

  it('writes a recipe that gives the same bytes, and records it in the file', async () => {
    await box.lowbit('quantize', box.path('model.onnx'), '-w', 'int4', '-g', '16', '-x', 'second', '-o', box.path('a.onnx'), '--save-recipe', box.path('recipe.json'))
    const first = readFileSync(box.path('a.onnx'))
    expect(metadata(readOnnx(first), 'lowbit.recipe')).toContain('@lowbit/core/rtn')
    writeFileSync(box.path('a.onnx'), 'an older file')
    const { code } = await box.lowbit('run', box.path('recipe.json'))
    expect(code).toBe(0)
    expect(readFileSync(box.path('a.onnx')).equals(first)).toBe(true)
  })

  it('takes the best of GPTQ and rounding below 8 bits where there is data, a searched scale where there is none, and plain rounding elsewhere', async () => {
    const algorithms = async (...args: string[]): Promise<string> => {
      const { out } = await box.lowbit('quantize', box.path('model.onnx'), '-w', 'int4', '-g', '16', '-o', box.path('g.onnx'), '--json', ...args)
      return (JSON.parse(out) as { sites: { algorithm: string }[] }).sites.map((s) => s.algorithm.split('@').at(-2)).join(' ')
    }
    expect(await algorithms('-c', box.path('data.npz'))).toBe('lowbit/algos-gptq/mismatch-aware lowbit/algos-gptq/mismatch-aware')
    expect(await algorithms()).toBe('lowbit/core/rtn lowbit/core/rtn')
    const recipe = (): string => metadata(readOnnx(readFileSync(box.path('g.onnx'))), 'lowbit.recipe') ?? ''
    expect(recipe()).toContain('search')
    expect(recipe()).toContain('"symmetric":false')
    await algorithms('--symmetric')
    expect(recipe()).toContain('"symmetric":true')
  })

  it('says what was chosen, and a recipe of it gives the same bytes', async () => {
    const args = ['-w', 'int3', '-g', '16', '-c', box.path('data.npz')]
    const { out } = await box.lowbit('quantize', box.path('model.onnx'), ...args, '-f', 'dequantize', '-o', box.path('a.onnx'), '--save-recipe', box.path('recipe.json'))
    expect(out).toMatch(/Least output error, by output channels: .*gptq actOrder static \d/)
    const bytes = readFileSync(box.path('a.onnx'))
    const { code } = await box.lowbit('run', box.path('recipe.json'))
    expect(code).toBe(0)
    expect(readFileSync(box.path('a.onnx')).equals(bytes)).toBe(true)
  })

  it('writes a page that shows the model’s names as text, not as markup', async () => {
    const { code } = await box.lowbit('quantize', box.path('model.onnx'), '-c', box.path('data.npz'), '--report', box.path('r.html'))
    expect(code).toBe(0)
    const page = readFileSync(box.path('r.html'), 'utf8')
    expect(page).toContain('<svg')
    expect(page).toContain('top-1 equal')
    expect(page).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/)
  })

  it('keeps what calibration found, uses it again, and refuses it for other data', async () => {
    const args = ['quantize', box.path('model.onnx'), '-c', box.path('data.npz'), '--calibration-cache', box.path('model.stats'), '-o']
    expect((await box.lowbit(...args, box.path('a.onnx'))).code).toBe(0)
    const kept = readFileSync(box.path('model.stats'))
    expect((await box.lowbit(...args, box.path('b.onnx'))).code).toBe(0)
    expect(readFileSync(box.path('b.onnx')).equals(readFileSync(box.path('a.onnx')))).toBe(true)
    expect(readFileSync(box.path('model.stats')).equals(kept)).toBe(true)
    writeFileSync(box.path('data.npz'), writeNpz({ x: randomTensor([24, 64], 10) }))
    const { code, err } = await box.lowbit(...args, box.path('c.onnx'))
    expect(code).toBe(1)
    expect(err).toMatch(/LOWBIT_CALIBRATION.*model\.stats.*other data/)
    expect(existsSync(box.path('c.onnx'))).toBe(false)
    expect((await box.lowbit('quantize', box.path('model.onnx'), '--calibration-cache', box.path('model.stats'))).err).toMatch(/--calibration-cache: does nothing without --calibration/)
  })

  it('says where a transform could not be folded, why, and what was done instead', async () => {
    const { out, code } = await box.lowbit('quantize', box.path('model.onnx'), '-t', 'smoothquant', '-c', box.path('data.npz'))
    expect(code).toBe(0)
    expect(out).toMatch(/1 × @lowbit\/algos-smoothquant: scale inserted: .+ \(x\)/)
    expect(out).toMatch(/1 × @lowbit\/algos-smoothquant: scale folded/)
  })

  it('works with too few samples, and says how many more help', async () => {
    const { out, code } = await box.lowbit('quantize', box.path('model.onnx'), '-w', 'int4', '-g', '16', '-c', box.path('data.npz'))
    expect(code).toBe(0)
    expect(out).toMatch(/24 calibration rows for 64 input columns: 40 more/)
  })

  it('names the layer and the sample of a NaN', async () => {
    const x = randomTensor([24, 64], 9)
    x.data[5 * 64 + 3] = Number.NaN
    writeFileSync(box.path('nan.npz'), writeNpz({ x }))
    const { err, code } = await box.lowbit('quantize', box.path('model.onnx'), '-w', 'int4', '-g', '16', '-c', box.path('nan.npz'))
    expect(code).toBe(1)
    expect(err).toMatch(/LOWBIT_NONFINITE.*(x|first).*(sample|batch) 5/)
  })

  it('lists what was left in float and why', async () => {
    const { out } = await box.lowbit('quantize', box.path('model.onnx'), '-w', 'int4', '-g', '16', '--override', 'second=float')
    expect(out).toMatch(/1 of 2 sites quantized/)
    expect(out).toMatch(/1 × override/)
  })
})

describe('lowbit sensitivity and --budget', () => {
  it('ranks sites and schemes, worst first', async () => {
    const { code, out } = await box.lowbit('sensitivity', box.path('model.onnx'), '-c', box.path('data.npz'), '-w', 'int2,int8', '-g', '16', '--json')
    expect(code).toBe(0)
    const rows = JSON.parse(out) as { site: string; damage: number; scheme: { dtype: string } }[]
    expect(rows.map((r) => r.scheme.dtype)).toEqual(['int2', 'int2', 'int8', 'int8'])
    expect(rows.every((r, i) => i === 0 || r.damage <= rows[i - 1].damage)).toBe(true)
  })

  it.each(['model', 'hessian', 'output', 'weight'])('prints a ranked table by %s', async (measure) => {
    const { code, out, err } = await box.lowbit('sensitivity', box.path('model.onnx'), '-c', box.path('data.npz'), '-w', 'int4', '-g', '16', '-m', measure)
    expect(err).toBe('')
    expect(code).toBe(0)
    expect(out).toMatch(/^\s*1  (first|second) .*\n\s*2  (first|second) /m)
    expect(out.includes('±')).toBe(measure === 'hessian')
  })

  it('needs no data to compare weights', async () => {
    const { code, out } = await box.lowbit('sensitivity', box.path('model.onnx'), '-w', 'int4', '-g', '16')
    expect(code).toBe(0)
    expect(out).toMatch(/weight SQNR/)
  })

  it('chooses schemes that fit a size', async () => {
    const make = async (budget: string): Promise<string[]> => {
      const { code, out, err } = await box.lowbit('quantize', box.path('model.onnx'), '-w', 'int4,int8', '-g', '16', '--budget', budget, '-c', box.path('data.npz'), '-o', box.path('b.onnx'), '--json')
      expect(err).toBe('')
      expect(code).toBe(0)
      return (JSON.parse(out) as { sites: { scheme?: { dtype: string } }[] }).sites.map((s) => s.scheme?.dtype ?? 'float')
    }
    expect(await make('100kB')).toEqual(['float', 'float'])
    expect(await make('5.5kB')).toContain('int8')
    expect(await make('5kB')).toEqual(['int4', 'int4'])
    // nodes and names that quantizing adds count as well
    for (const size of [5, 5.25, 5.5, 6, 6.5, 7]) {
      await make(`${size}kB`)
      expect(statSync(box.path('b.onnx')).size).toBeLessThanOrEqual(size * 1000)
    }
    const { code, err } = await box.lowbit('quantize', box.path('model.onnx'), '--budget', '100', '-c', box.path('data.npz'))
    expect(code).toBe(2)
    expect(err).toMatch(/--budget.*100 bytes/)
  })
})

describe('lowbit tune', () => {
  it('finds a model that is good enough, writes it and its recipe', async () => {
    const { code, out, err } = await box.lowbit('tune', box.path('model.onnx'), '-d', box.path('data.npz'), '-m', 'sqnr', '--tolerance', '30', '-o', box.path('t.onnx'))
    expect(err).toBe('')
    expect(code).toBe(0)
    expect(out).toMatch(/int4 group 32, searched scale.*missed/)
    expect(out).toMatch(/good enough/)
    const compared = await box.lowbit('compare', box.path('model.onnx'), box.path('t.onnx'), '-d', box.path('data.npz'), '--json')
    expect((JSON.parse(compared.out) as { outputs: { sqnr: number }[] }).outputs[0].sqnr).toBeGreaterThanOrEqual(30)
    const bytes = readFileSync(box.path('t.onnx'))
    expect((await box.lowbit('run', box.path('t.onnx.recipe.json'))).code).toBe(0)
    expect(readFileSync(box.path('t.onnx')).equals(bytes)).toBe(true)
  })

  it('says so when nothing is, and writes nothing', async () => {
    const { code, err } = await box.lowbit('tune', box.path('model.onnx'), '-d', box.path('data.npz'), '-m', 'sqnr', '--tolerance', '150', '-o', box.path('t.onnx'))
    expect(code).toBe(1)
    expect(err).toMatch(/no recipe of 3 stays within/)
    expect(existsSync(box.path('t.onnx'))).toBe(false)
  })

  it('measures accuracy against labels', async () => {
    writeFileSync(box.path('labels.txt'), Array.from({ length: 24 }, (_, i) => `${i % 10}`).join('\n'))
    const { out, code } = await box.lowbit('tune', box.path('model.onnx'), '-d', box.path('data.npz'), '--labels', box.path('labels.txt'), '--tolerance', '1', '-o', box.path('t.onnx'))
    expect(code).toBe(0)
    expect(out).toMatch(/top1/)
  })
})

describe('what is asked wrongly', () => {
  it.each([
    ['an unknown command', ['quantise', 'model.onnx'], 2, /unknown command/],
    ['an unknown option', ['quantize', 'model.onnx', '--bits', '4'], 2, /unknown option/],
    ['no model', ['quantize'], 2, /missing required argument/],
    ['a type that is none', ['quantize', 'model.onnx', '-w', 'int5'], 2, /--weights.*int5.*expected one of .*int8/],
    ['a group that is no number', ['quantize', 'model.onnx', '-w', 'int4', '-g', 'many'], 2, /--group.*"many".*whole number/],
    ['an algorithm that is none', ['quantize', 'model.onnx', '-a', 'gtpq'], 1, /LOWBIT_NOT_FOUND.*gtpq.*@lowbit\/algos-gptq/],
    ['GPTQ without data', ['quantize', 'model.onnx', '-w', 'int4', '-g', '16', '-a', 'gptq'], 1, /LOWBIT_CALIBRATION.*--calibration/],
    ['a pattern that matches nothing', ['quantize', 'model.onnx', '-x', 'head'], 1, /LOWBIT_NOT_FOUND.*"head".*first, second/],
    ['the model as its own output', ['quantize', 'model.onnx', '-o', 'model.onnx'], 2, /the model itself/],
    ['a file that is not there', ['inspect', 'nowhere.onnx'], 1, /LOWBIT_FILE/],
    ['a file that is no model', ['inspect', 'data.npz'], 1, /LOWBIT_FORMAT/],
    ['data of another shape', ['quantize', 'model.onnx', '-c', 'other.npz'], 1, /LOWBIT_DATA.*\[3, 5\].*\[n, 64\]/],
    ['data of another name', ['quantize', 'model.onnx', '-c', 'names.npz'], 1, /LOWBIT_DATA.*u, v.*x/],
    ['a recipe that is none', ['run', 'data.npz'], 2, /LOWBIT_RECIPE.*not JSON/],
  ])('%s', async (_, args, code, message) => {
    writeFileSync(box.path('other.npz'), writeNpz({ x: randomTensor([3, 5], 1) }))
    writeFileSync(box.path('names.npz'), writeNpz({ u: randomTensor([3, 64], 1), v: randomTensor([3, 64], 1) }))
    const before = readdirSync(box.folder).sort()
    const outcome = await box.lowbit(...args.map((a) => (/\.(onnx|npz|json)$/.test(a) ? box.path(a) : a)))
    expect(outcome.err).toMatch(message)
    expect(outcome.code).toBe(code)
    expect(readdirSync(box.folder).sort()).toEqual(before)
  })

  it('keeps the old output when a run fails', async () => {
    writeFileSync(box.path('out.onnx'), 'precious')
    const bytes = readFileSync(box.path('model.onnx'))
    writeFileSync(box.path('broken.onnx'), bytes.subarray(0, bytes.length >> 1))
    const { code } = await box.lowbit('quantize', box.path('broken.onnx'), '-o', box.path('out.onnx'))
    expect(code).toBe(1)
    expect(readFileSync(box.path('out.onnx'), 'utf8')).toBe('precious')
    expect(existsSync(box.path('broken.int8.onnx'))).toBe(false)
  })

  it('prints help with examples, and its version', async () => {
    expect(await box.lowbit('quantize', '--help')).toMatchObject({ code: 0, out: expect.stringContaining('Examples:') })
    expect((await box.lowbit('--version')).out).toMatch(/^\d+\.\d+\.\d+/)
  })
})
