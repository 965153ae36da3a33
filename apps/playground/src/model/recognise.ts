import type { DataFiles, FailureSentence, ModelFiles } from '../lab/messages.js'
import type { FoundFile } from './dropped-files.js'

/** What was chosen, by its names. */
export type Recognised =
  | { readonly kind: 'onnx'; readonly model: ModelFiles; readonly data?: DataFiles; readonly labels?: File }
  | { readonly kind: 'language-model'; readonly name: string; readonly files: readonly File[] }
  | { readonly kind: 'data'; readonly data: DataFiles; readonly labels?: File }
  | { readonly kind: 'labels'; readonly labels: File }
  | { readonly kind: 'nothing'; readonly failure: FailureSentence }

const DATA = /\.(npz|npy|jpe?g|png|webp|gif|avif)$/i
/** One name of a class a line. */
const LABELS = /(labels?|classes|synset)[^/]*\.txt$/i

/** Finds out what was chosen or dropped. Nothing is read: a name that lies is found out by who opens the file. */
export function recognise(found: readonly FoundFile[]): Recognised {
  const models = found.filter(({ path }) => /\.onnx$/i.test(path))
  const [model] = models
  const images = found.filter(({ path }) => DATA.test(path)).map(({ file }) => file)
  const labelled = found.find(({ path }) => LABELS.test(path))?.file
  const labels = labelled === undefined ? {} : { labels: labelled }
  const texts = found.filter(({ path }) => /\.(txt|md)$/i.test(path) && !LABELS.test(path)).map(({ file }) => file)
  const tokenizer = found.find(({ path }) => /(^|\/)tokenizer\.json$/.test(path))?.file
  if (models.length > 1) return nothing(`There are ${models.length} models here (${models.slice(0, 3).map(({ file }) => file.name).join(', ')}${models.length > 3 ? ', …' : ''}). Drop one of them, with the files that belong to it.`)
  if (model !== undefined) {
    const folder = model.path.slice(0, model.path.lastIndexOf('/') + 1)
    const data = new Map(found.filter((f) => f !== model && !DATA.test(f.path)).map(({ path, file }) => [path.startsWith(folder) ? path.slice(folder.length) : path, file]))
    return { kind: 'onnx', model: { name: model.file.name, file: model.file, data }, ...labels, ...(images.length === 0 ? {} : { data: { files: images, spec: {} } }) }
  }
  const gguf = found.find(({ path }) => /\.gguf$/i.test(path))
  if (gguf !== undefined) return { kind: 'language-model', name: gguf.file.name, files: [gguf.file] }
  if (found.some(({ path }) => /\.safetensors$/i.test(path)) && found.some(({ path }) => /(^|\/)config\.json$/.test(path))) {
    return { kind: 'language-model', name: found[0].path.split('/')[0], files: found.map(({ file }) => file) }
  }
  if (images.length > 0) return { kind: 'data', ...labels, data: { files: images, spec: {} } }
  if (texts.length > 0) return { kind: 'data', data: { files: texts, spec: {}, ...(tokenizer === undefined ? {} : { tokenizer }) } }
  if (labelled !== undefined) return { kind: 'labels', labels: labelled }
  return nothing(
    found.length === 0
      ? 'Nothing was dropped. Drop an .onnx file, a .gguf file, or a folder with a model in it.'
      : `${found.length === 1 ? `“${found[0].file.name}” is` : `These ${found.length} files are`} no model that this page reads. It reads .onnx (with the files that hold its weights), .gguf, and Hugging Face folders with config.json and .safetensors. PyTorch and TensorFlow models are exported to ONNX first.`,
  )
}

function nothing(message: string): Recognised {
  return { kind: 'nothing', failure: { message } }
}
