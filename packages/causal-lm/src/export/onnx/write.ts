import type { Artifact, EmitOptions, Json } from '@lowbit/core'
import { create, DataLocation, EXTERNAL_MIN_BYTES, mapInitializers, MAX_PROTOBUF_BYTES, onnxChunks, setMetadata, StringStringEntryProtoSchema, tensorsOf, withFields, writeOnnx, type ModelProto, type TensorProto } from '@lowbit/formats'
import { FOLDER_LIMITS, readCompanions, readSmallFile } from '@lowbit/formats/huggingface'
import { partsOf } from '../../forward/parts.js'
import { folderArtifact, jsonFile, noBytes, type FolderFile } from '../folder-artifact.js'
import { huggingFaceJson, parseConfig } from '../hugging-face-json.js'
import type { LmFormat, LmSnapshot } from '../lm-format.js'
import { decoderGraph, type DecoderGraphOptions } from './decoder-graph.js'
import { genaiConfig } from './genai-config.js'
import { inBlocks, onnxAccepts, storeOnnx } from './store.js'

/** A folder for transformers.js and ONNX Runtime: `onnx/model_q4.onnx` with its data, configuration and tokenizer. */
export const onnxFormat: LmFormat = {
  name: 'onnx',
  settings: {
    attention: { type: 'choice', values: ['gqa', 'plain'], default: 'gqa', when: { format: ['onnx'] }, about: "ONNX Runtime's GroupQueryAttention, or operators of ONNX alone" },
    accuracyLevel: { type: 'integer', minimum: 0, maximum: 4, default: 4, when: { format: ['onnx'] }, about: 'of MatMulNBits: 4 rounds activations to int8 a block, 0 keeps them in float32' },
    runtime: { type: 'choice', values: ['transformers.js', 'genai'], default: 'transformers.js', when: { format: ['onnx'] }, about: 'whose inputs the graph has: ONNX Runtime GenAI knows no num_logits_to_keep' },
    positions: { type: 'integer', minimum: 1, maximum: 2 ** 20, when: { format: ['onnx'] }, otherwise: 'as many as the model was trained for, 8192 at most', about: 'positions that the graph has angles for' },
  },
  accepts: onnxAccepts,
  check: () => {},
  takesBias: () => true,
  store: storeOnnx,
  write: writeModel,
}

/** Positions of which the tables are some megabytes. */
const POSITIONS = 8192

/** Files below the 2 GB that browsers and WebAssembly hold. */
const CHUNK = 1.9e9

/** What transformers.js loads for `dtype: 'q4'`. */
const MODEL = 'onnx/model_q4.onnx'

async function writeModel(snapshot: LmSnapshot, { settings = {}, provenance, signal }: EmitOptions): Promise<Artifact> {
  const { config, name } = snapshot
  const model = await decoderGraph(config, weightsOf(snapshot), graphOptions(settings, config.context))
  if (provenance !== undefined) setMetadata(model, 'lowbit.recipe', JSON.stringify(provenance.recipe))
  const notes: string[] = []
  const files = await companions(snapshot, notes)
  const { model: pointing, data } = splitData(model)
  const own = files.find((file) => file.name === 'config.json')
  const json = own === undefined ? huggingFaceJson(config, name) : parseConfig(await textOf(own), name)
  const jsConfig = { ...(typeof json['transformers.js_config'] === 'object' ? json['transformers.js_config'] : {}), dtype: 'q4', kv_cache_dtype: 'float32', ...(data.length === 0 ? {} : { use_external_data_format: { 'model_q4.onnx': data.length } }) }
  const size = onnxChunks(pointing).size + data.reduce((sum, { bytes }) => sum + bytes, 0)
  const inline = [...tensorsOf(model)].reduce((sum, t) => sum + t.rawData.length, 0)
  const whole = inline < MAX_PROTOBUF_BYTES / 4 ? writeOnnx(model) : undefined
  return folderArtifact({
    format: 'onnx',
    size: whole?.length ?? size,
    notes,
    signal,
    bytes: () => {
      if (whole === undefined) throw noBytes('onnx', size)
      return whole
    },
    files: [
      ...data.map((part): FolderFile => ({ name: `onnx/${part.name}`, pieces: () => part.pieces() })),
      { name: MODEL, pieces: () => onnxChunks(pointing).chunks },
      ...files.filter((file) => file.name !== 'config.json'),
      jsonFile('genai_config.json', genaiConfig(snapshot, MODEL)),
      jsonFile('config.json', { ...json, 'transformers.js_config': jsConfig }),
    ],
  })
}

function graphOptions(settings: Readonly<Record<string, Json>>, context: number): DecoderGraphOptions {
  return {
    attention: settings['attention'] === 'plain' ? 'plain' : 'gqa',
    accuracyLevel: typeof settings['accuracyLevel'] === 'number' ? settings['accuracyLevel'] : 4,
    keepsLogits: settings['runtime'] !== 'genai',
    context: Math.min(context, typeof settings['positions'] === 'number' ? settings['positions'] : POSITIONS),
  }
}

function weightsOf(snapshot: LmSnapshot): Parameters<typeof decoderGraph>[1] {
  const blocks = new Map([...snapshot.codes].map(([part, q]) => [part, inBlocks(q, part === 'embed' || part === 'head')]))
  return { parts: new Map(partsOf(snapshot.config).map((part) => [part.name, part])), codes: (part) => blocks.get(part), floats: (part) => snapshot.floats(part), vector: (part) => snapshot.vectors.get(part) }
}

interface DataFile {
  readonly name: string
  readonly bytes: number
  pieces(): Generator<Uint8Array>
}

/** Tensors of 1 MiB and more start at a page, so that a runtime can map them into memory. */
const PAGE = 4096
const LINE = 64

/**
 * Large initializers in files of less than 2 GB each, named as transformers.js looks for them: `model_q4.onnx_data`,
 * `model_q4.onnx_data_1` …
 */
export function splitData(model: ModelProto, chunk = CHUNK): { readonly model: ModelProto; readonly data: readonly DataFile[] } {
  const base = 'model_q4.onnx_data'
  const files: { name: string; bytes: number; parts: { tensor: TensorProto; offset: number }[] }[] = []
  const pointing = mapInitializers(model, (tensor) => {
    const { length } = tensor.rawData
    if (length < EXTERNAL_MIN_BYTES) return tensor
    const align = length >= 1 << 20 ? PAGE : LINE
    let file = files.at(-1)
    if (file === undefined || Math.ceil(file.bytes / align) * align + length > chunk) {
      file = { name: files.length === 0 ? base : `${base}_${files.length}`, bytes: 0, parts: [] }
      files.push(file)
    }
    const offset = Math.ceil(file.bytes / align) * align
    file.bytes = offset + length
    file.parts.push({ tensor, offset })
    const externalData = Object.entries({ location: file.name, offset: String(offset), length: String(length) }).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }))
    const pointer = withFields(tensor, { externalData, dataLocation: DataLocation.EXTERNAL })
    Reflect.deleteProperty(pointer, 'rawData')
    return pointer
  })
  return { model: pointing, data: files.map(({ name, bytes, parts }) => ({ name, bytes, pieces: () => laidOut(parts) })) }
}

function* laidOut(parts: readonly { readonly tensor: TensorProto; readonly offset: number }[]): Generator<Uint8Array> {
  let end = 0
  for (const { tensor, offset } of parts) {
    if (offset > end) yield new Uint8Array(offset - end)
    yield tensor.rawData
    end = offset + tensor.rawData.length
  }
}

/** The files beside the weights, as the folder has them. */
export async function companions({ files }: LmSnapshot, notes: string[]): Promise<readonly FolderFile[]> {
  const found = files === undefined ? [] : await readCompanions(files)
  if (!found.some(({ name }) => name === 'tokenizer.json')) notes.push('the model comes without tokenizer.json: put that of its Hugging Face folder beside the files')
  const config = files !== undefined && (await files.list()).includes('config.json') ? [{ name: 'config.json', bytes: await readSmallFile(files, 'config.json', FOLDER_LIMITS.jsonBytes) }] : []
  return [...config, ...found].map(({ name, bytes }) => ({ name, pieces: () => [bytes] }))
}

/** The text of a small file. */
export async function textOf(file: FolderFile): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const piece of file.pieces()) text += decoder.decode(piece, { stream: true })
  return text + decoder.decode()
}
