import type { DataFiles, ModelFiles } from './lab/messages.js'

/** A model that comes with the page. */
export interface Example {
  readonly id: string
  readonly title: string
  readonly about: string
  readonly file: string
  readonly samples?: string
}

export const EXAMPLES: readonly Example[] = [
  { id: 'digits', title: 'Digits', about: 'Reads drawn digits: a small convolutional network, with 48 pictures to try it on.', file: 'digits.onnx', samples: 'digits.json' },
  { id: 'stories', title: 'Stories', about: 'Tells little stories: a language model of 260 thousand parameters, to chat with in the tab.', file: 'stories260K.gguf' },
]

export type LoadedExample =
  | { readonly kind: 'onnx'; readonly model: ModelFiles; readonly data: DataFiles | undefined; readonly labels: readonly string[] }
  | { readonly kind: 'language-model'; readonly name: string; readonly files: readonly File[] }

/** Fetches an example from where the page stands. */
export async function loadExample({ title, file, samples }: Example): Promise<LoadedExample> {
  const blob = await (await fetched(file, title)).blob()
  if (file.endsWith('.gguf')) return { kind: 'language-model', name: file, files: [new File([blob], file)] }
  const drawn = samples === undefined ? undefined : ((await (await fetched(samples, title)).json()) as Samples)
  const files = await Promise.all((drawn?.images ?? []).map(async ({ name, png }) => new File([await (await fetch(`data:image/png;base64,${png}`)).blob()], name, { type: 'image/png', lastModified: 0 })))
  return { kind: 'onnx', model: { name: file, file: blob, data: new Map() }, data: files.length === 0 ? undefined : { files, spec: {} }, labels: drawn?.labels ?? [] }
}

interface Samples {
  readonly labels: readonly string[]
  readonly images: readonly { readonly name: string; readonly png: string }[]
}

async function fetched(name: string, title: string): Promise<Response> {
  const response = await fetch(new URL(`examples/${name}`, document.baseURI))
  if (!response.ok) throw new Error(`The example “${title}” could not be fetched (${response.status}). Is the page served with its folder “examples”?`)
  return response
}
