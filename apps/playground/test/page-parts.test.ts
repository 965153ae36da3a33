import { parseRecipe, type Recipe } from '@lowbit/core'
import { recipeOfValues, UNION } from 'lowbit/recipes'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { batchesOf } from '../src/lab/texts.js'
import { letters } from '../../../packages/causal-lm/test/support/letters.js'
import { recognise } from '../src/model/recognise.js'
import { PRESETS, estimate } from '../src/options/presets.js'
import { valueAt, withValue, type Path } from '../src/options/recipe-path.js'
import { linkHash, readLink } from '../src/take-home/link.js'
import { wholeCommand, wholeRecipe } from '../src/take-home/recipe-file.js'

const file = (path: string): { readonly path: string; readonly file: File } => ({ path, file: new File(['x'], path.replace(/^.*\//, '')) })

describe('what was dropped', () => {
  it('is a model with the files of its folder, by the names that stand in it', () => {
    const found = recognise([file('net/model.onnx'), file('net/weights/a.bin'), file('net/model.onnx_data'), file('net/samples/1.png')])
    expect(found).toMatchObject({ kind: 'onnx', model: { name: 'model.onnx' }, data: { spec: {} } })
    if (found.kind !== 'onnx') throw new Error(found.kind)
    expect([...found.model.data.keys()]).toEqual(['weights/a.bin', 'model.onnx_data'])
    expect(found.data?.files.map((f) => f.name)).toEqual(['1.png'])
  })

  it.each([
    [['a.gguf'], 'language-model'],
    [['llm/config.json', 'llm/model.safetensors', 'llm/tokenizer.json'], 'language-model'],
    [['1.png', '2.jpg'], 'data'],
    [['x.npz'], 'data'],
    [['book.txt', 'tokenizer.json'], 'data'],
    [['imagenet_labels.txt'], 'labels'],
    [['model.safetensors'], 'nothing'],
    [['a.onnx', 'b.onnx'], 'nothing'],
    [['model.pt'], 'nothing'],
    [[], 'nothing'],
  ])('%j is %s', (names, kind) => {
    const found = recognise(names.map(file))
    expect(found.kind).toBe(kind)
    if (found.kind === 'nothing') expect(found.failure.message).toMatch(/Drop|reads/)
  })
})

describe('texts', () => {
  const ids = { name: 'input_ids', dtype: 'int64', shape: ['batch', 'sequence'] } as const

  it('become samples of token ids, and of what follows from them', () => {
    const [first, ...rest] = batchesOf(['a'.repeat(40), 'b'.repeat(200)], letters(), [ids, { ...ids, name: 'attention_mask' }, { ...ids, name: 'position_ids', dtype: 'int32' }])
    expect(rest.length).toBe(Math.floor(242 / 64) - 1)
    expect(first['input_ids']).toMatchObject({ dtype: 'int64', shape: [1, 64] })
    expect([...first['input_ids'].data].map(Number)).toEqual([1, ...'a'.repeat(40)].map((c) => (typeof c === 'number' ? c : c.charCodeAt(0) - 28)).concat([1], Array.from({ length: 22 }, () => 70)))
    expect([...first['attention_mask'].data].map(Number)).toEqual(Array.from({ length: 64 }, () => 1))
    expect([...first['position_ids'].data]).toEqual(Array.from({ length: 64 }, (_, i) => i))
  })

  it('keep to a length that the model asks for', () => {
    expect(batchesOf(['c'.repeat(100)], letters(), [{ ...ids, shape: [1, 16] }])).toHaveLength(6)
  })

  it.each([
    ['pictures', [{ name: 'x', dtype: 'float32', shape: [1, 3, 8, 8] }]],
    ['caches', [ids, { name: 'past_key_values.0.key', dtype: 'float32', shape: [1, 2, 'n', 8] }]],
    ['an input named as no object should be', [ids, { name: 'constructor', dtype: 'float32', shape: [1] }]],
  ] as const)('are refused for a model of %s', (_, inputs) => {
    expect(() => batchesOf(['x'.repeat(100)], letters(), inputs)).toThrow(/LOWBIT_DATA.*\.npz/s)
  })

  it('that are too short say so', () => {
    expect(() => batchesOf(['x'], letters(), [ids])).toThrow(/2 tokens.*at least 64/s)
  })
})

describe('values in a recipe', () => {
  const paths = fc.array(fc.oneof(fc.constantFrom('weights', 'a', 'b'), fc.constantFrom(0)), { minLength: 1, maxLength: 4 }).filter((p) => typeof p[0] === 'string')
  const empty: Recipe = { lowbit: 1, weights: { dtype: 'int8' } }

  it('are found where they were put, and nothing else changes', () => {
    fc.assert(
      fc.property(paths, fc.integer(), (path, value) => {
        const next = withValue(empty, path, value)
        expect(valueAt(next, path)).toBe(value)
        expect(valueAt(next, ['lowbit'])).toBe(1)
        expect(empty).toEqual({ lowbit: 1, weights: { dtype: 'int8' } })
      }),
    )
  })

  it('are gone when taken out, and what is empty then with them', () => {
    const steps: readonly (readonly [Path, unknown])[] = [[['transforms', 0], 'x'], [['transforms', 1], 'y'], [['transforms', 0], undefined]]
    const list = steps.reduce((recipe, [path, value]) => withValue(recipe, path, value), empty)
    expect(list).toEqual({ ...empty, transforms: ['y'] })
    expect(withValue(list, ['transforms', 0], undefined)).toEqual(empty)
    expect(withValue(withValue(empty, ['activations', 'dtype'], 'uint8'), ['activations', 'dtype'], undefined)).toEqual(empty)
  })
})

describe('links', () => {
  const recipe = recipeOfValues({ weights: ['int4'], group: 32 })

  it('carry settings and a summary, any name of a model', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.nat(), (model, before) => {
        const content = { recipe, summary: { model, before, after: 3, sqnr: 31.5, top1: 1 } }
        expect(readLink(`#${linkHash(content)}`)).toEqual(content)
      }),
    )
  })

  it('of any text either hold a recipe, are none, or are refused', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json().map((text) => `s=${btoa(unescape(encodeURIComponent(text)))}`), fc.string().map((text) => `#s=${text}`)), (hash) => {
        try {
          const link = readLink(hash)
          if (link !== undefined) expect(parseRecipe(link.recipe, UNION)).toBe(link.recipe)
        } catch (error) {
          expect(String(error)).toMatch(/LOWBIT_(ARGUMENT|RECIPE)/)
        }
      }),
    )
  })

  it('leave out of a summary what has another type', () => {
    const hash = linkHash({ recipe, summary: JSON.parse('{"model":"m","before":1,"after":"2"}') })
    expect(readLink(hash)).toEqual({ recipe })
  })
})

describe('recipes that leave the page', () => {
  const data = { files: [new File([''], 'a.png'), new File([''], 'b.png')], spec: { limit: 20, image: { size: 32 } } }

  it.each(PRESETS.map((p) => [p.id, p] as const))('%s: the command that is shown is one with flags, and its recipe is whole', (_, { values }) => {
    for (const samples of [undefined, data]) {
      const whole = wholeRecipe(recipeOfValues(values), 'my model.onnx', samples)
      expect(parseRecipe(JSON.parse(JSON.stringify(whole)), UNION)).toEqual(whole)
      const command = wholeCommand(recipeOfValues(values), 'my model.onnx', samples)
      expect(command).toMatch(/^npx lowbit quantize 'my model.onnx' -o 'my model\.u?int\d+\.onnx' /)
      expect(command.includes('-c calibration --limit 20 --image-size 32')).toBe(samples !== undefined)
    }
  })

  it('name a file of arrays by its name', () => {
    expect(wholeRecipe(recipeOfValues({}), 'm.onnx', { files: [new File([''], 'samples.npz')], spec: {} }).calibration).toEqual({ path: 'samples.npz' })
  })
})

describe('estimates', () => {
  it('count what can be made smaller once, and nothing that grows', () => {
    const site = (id: string, bytes: number, more = {}) => ({ id, op: 'MatMul', kind: 'linear', shape: [8, 8] as const, bytes, int8: bytes / 4, int4: bytes / 8, ...more })
    const inspection = { bytes: 1000, inputs: [], outputs: [], formats: [], skipped: [], opset: 17, prepared: [], sites: [site('a', 400), site('b', 400, { tiedTo: 'a' }), site('tiny', 4, { int8: 20, int4: 20 }), site('s', 100, { kind: 'stored' })] }
    expect(PRESETS.map((p) => [p.id, estimate(p, inspection)])).toEqual([['half', 798], ['quarter', 700], ['quarter-calibrated', 700], ['eighth', 650], ['eighth-calibrated', 650]])
  })
})
