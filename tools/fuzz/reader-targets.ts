import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { chatTemplate, ggufConfig, huggingFaceConfig, type Tokenizer, tokenizerFromFolder, tokenizerFromGguf } from '@lowbit/causal-lm'
import { type HostTensor, isLowbitError } from '@lowbit/core'
import { readSafetensors, type TensorSource, writeSafetensors } from '@lowbit/formats'
import { memorySource, openGguf } from '@lowbit/formats/gguf'
import { openSafetensorsSource } from '@lowbit/formats/huggingface'
import type { Dice } from './dice.js'
import { headerNumbers } from './gguf-numbers.js'
import { joined, mutateBytes, writeNumber } from './mutate-bytes.js'
import { mutateJson } from './mutate-json.js'
import type { Target } from './target.js'

const GOLDENS = join(import.meta.dirname, '..', '..', 'testdata', 'goldens')
const TEXT = 'The quick brown fox, 12 345 «é漢字😀»\n\t<s> [INST] </s>  it\'s'

const read = (...path: readonly string[]): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(join(GOLDENS, ...path)))
const filesIn = (folder: string, ending: string): readonly string[] => readdirSync(join(GOLDENS, folder), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith(ending)).sort()
const utf8 = (value: unknown): Uint8Array<ArrayBuffer> => new TextEncoder().encode(JSON.stringify(value) ?? 'null')
const parsed = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes))
const object = (value: unknown): Record<string, unknown> => (typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value)) : {})

/** Tensors with more values are not read: what they hold is made up. */
const MOST_VALUES = 1 << 20

async function readSome(source: TensorSource, dice: Dice): Promise<void> {
  for (const { name, shape } of [...source.tensors.values()].slice(0, 4)) {
    if (shape.reduce((a, b) => a * b, 1) > MOST_VALUES) continue
    try {
      await source.floats(name, dice.chance(0.3) && shape.length > 0 ? { from: 0, count: Math.min(1, shape[0]) } : undefined)
    } catch (error) {
      // The other tensors may be sound.
      if (!isLowbitError(error) || error.code === 'LOWBIT_INTERNAL') throw error
    }
  }
}

function talk(tokenizer: Tokenizer): void {
  const ids = tokenizer.encode(TEXT)
  tokenizer.decode(ids)
  const stream = tokenizer.stream()
  for (const id of ids) stream.push(id)
  stream.end()
}

function ggufTarget(): Target {
  const seeds = [...filesIn('gguf', '.gguf').filter((n) => !n.startsWith('broken')).map((n) => read('gguf', n)), ...filesIn('tokenize', '.gguf').map((n) => read('tokenize', n)), read('ggml', 'tiny.gguf')].map((bytes) => ({ bytes, numbers: headerNumbers(bytes) }))
  return {
    name: 'gguf',
    weight: 2,
    extension: 'gguf',
    make(dice) {
      const { bytes, numbers } = dice.pick(seeds)
      if (numbers.length === 0 || dice.chance(0.2)) return mutateBytes(bytes, dice)
      const out = bytes.slice()
      for (let i = 1 + dice.below(2); i > 0; i--) writeNumber(out, dice.pick(numbers), dice)
      return out
    },
    async run(bytes, dice, at) {
      at('parse')
      await using file = await openGguf([memorySource(bytes)])
      at('tensors')
      await readSome(file, dice)
      at('tokenizer')
      try {
        talk(tokenizerFromGguf(file.metadata))
      } catch (error) {
        if (!isLowbitError(error) || error.code === 'LOWBIT_INTERNAL') throw error
      }
      at('config')
      ggufConfig(file.metadata, { vocabulary: dice.below(4) * 64, tied: dice.chance(0.5), biases: { qkv: false, output: false, mlp: false } })
      return 'read'
    },
  }
}

function safetensorsTarget(): Target {
  const tensor = (shape: readonly number[], seed: number): HostTensor => ({ dtype: 'float32', shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * seed)) })
  const seed = new Uint8Array(writeSafetensors({ w: tensor([8, 16], 1), b: tensor([16], 2), i: { dtype: 'int8', shape: [3, 5], data: new Int8Array(15) }, h: { dtype: 'float16', shape: [4, 4], data: new Uint16Array(16) } }))
  const length = Number(new DataView(seed.buffer).getBigUint64(0, true))
  const header = parsed(seed.subarray(8, 8 + length))
  return {
    name: 'safetensors',
    weight: 1,
    extension: 'safetensors',
    make(dice) {
      if (dice.chance(0.2)) return mutateBytes(seed, dice)
      const json = utf8(mutateJson(header, dice))
      const size = new Uint8Array(new BigUint64Array([BigInt(json.length)]).buffer)
      return joined(size, json, seed.subarray(8 + length))
    },
    async run(bytes, dice, at) {
      at('parse')
      const file = readSafetensors(bytes)
      await using source = await openSafetensorsSource([memorySource(bytes)])
      at('tensors')
      for (const name of file.entries.keys()) {
        try {
          file.read(name)
        } catch (error) {
          if (!isLowbitError(error) || error.code === 'LOWBIT_INTERNAL') throw error
        }
      }
      await readSome(source, dice)
      return 'read'
    },
  }
}

function tokenizerTarget(): Target {
  const seeds = filesIn('tokenize', 'tokenizer.json').map((n) => parsed(read('tokenize', n)))
  return {
    name: 'tokenizer',
    weight: 2,
    extension: 'json',
    make: (dice) => utf8(mutateJson(dice.pick(seeds), dice)),
    async run(bytes, _, at) {
      at('parse')
      const tokenizer = tokenizerFromFolder({ name: 'fuzz', config: {}, generation: {}, tokenizer: object(parsed(bytes)), tokenizerConfig: {}, chatTemplate: undefined })
      at('encode')
      talk(tokenizer)
      return 'encoded'
    },
  }
}

function configTarget(): Target {
  const seeds = filesIn('lm-forward', 'config.json').map((n) => parsed(read('lm-forward', n)))
  return {
    name: 'config',
    weight: 0.5,
    extension: 'json',
    make: (dice) => utf8(mutateJson(dice.pick(seeds), dice)),
    async run(bytes, _, at) {
      at('parse')
      huggingFaceConfig(object(parsed(bytes)))
      return 'read'
    },
  }
}

function templateTarget(): Target {
  const seeds = filesIn('chat-template', '.jinja').map((n) => new TextDecoder().decode(read('chat-template', n)))
  const pieces = ['{% for i in range(99999999) %}x{% endfor %}', '{{ messages }}', '{% if %}', '{{', '}}', '{%', "{{ 'a' * 99999999 }}", '{{ messages[-1].content.split("a") }}', '{% set ns = namespace(a=1) %}', '{{ raise_exception("x") }}', '{{ messages | tojson }}', '{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}', '{{ constructor }}', '{{ messages.__proto__ }}']
  return {
    name: 'template',
    weight: 0.5,
    extension: 'jinja',
    make(dice) {
      let text = dice.pick(seeds)
      for (let i = 1 + dice.below(3); i > 0; i--) {
        const from = dice.below(text.length + 1)
        const to = dice.chance(0.5) ? from : from + dice.below(24)
        const other = dice.pick(seeds)
        const start = dice.below(other.length)
        text = text.slice(0, from) + (dice.chance(0.4) ? dice.pick(pieces) : other.slice(start, start + dice.below(40))) + text.slice(to)
      }
      return new TextEncoder().encode(text)
    },
    async run(bytes, _, at) {
      at('parse')
      const template = chatTemplate(new TextDecoder().decode(bytes), { bosToken: '<s>', eosToken: '</s>' })
      at('render')
      template.render([{ role: 'user', content: TEXT }, { role: 'assistant', content: 'yes' }, { role: 'user', content: 'more' }])
      return 'rendered'
    },
  }
}

/** Readers of other files than ONNX. */
export function readerTargets(): readonly Target[] {
  return [ggufTarget(), safetensorsTarget(), tokenizerTarget(), configTarget(), templateTarget()]
}
