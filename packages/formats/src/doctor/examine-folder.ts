import { checkpointFormat, isPackedWeight, type CheckpointFormat } from '../checkpoints/index.js'
import type { HuggingFaceFolder } from '../huggingface/folder.js'
import { brokenHalves } from './half-values.js'
import { bySeverity, type Finding } from './finding.js'

/**
 * What is wrong with a model folder of Hugging Face, or costs its users something. Values of float tensors are read.
 * @throws what reading throws: a folder that cannot be read is no finding
 */
export async function examineFolder(folder: HuggingFaceFolder, signal?: AbortSignal): Promise<readonly Finding[]> {
  const found: Finding[] = []
  const { config, tensors } = folder
  const vocabulary = config['vocab_size']
  const embedding = [...tensors.values()].find((t) => /embed_tokens\.weight$|wte\.weight$/.test(t.name))
  const head = tensors.get('lm_head.weight')
  if (embedding !== undefined && typeof vocabulary === 'number' && embedding.shape[0] !== vocabulary && !/^U/.test(embedding.type)) found.push({ rule: 'vocabulary', severity: 'error', where: [embedding.name], found: `${embedding.shape[0]} rows where config.json says ${vocabulary} tokens`, cure: 'take config.json and weights of one version' })
  if (folder.tokenizer === undefined) found.push({ rule: 'no-tokenizer', severity: 'error', where: [], found: 'no tokenizer.json: JavaScript runtimes cannot read text', cure: 'save the tokenizer with AutoTokenizer.from_pretrained(…).save_pretrained(folder)' })
  if (folder.chatTemplate === undefined && /instruct|chat|-it\b/i.test(folder.name)) found.push({ rule: 'no-chat-template', severity: 'warning', where: [], found: 'a model for conversations without its template: chats are put together in another form than it was trained on', cure: 'copy chat_template.jinja from the original' })
  if (config['tie_word_embeddings'] === true && head !== undefined && embedding !== undefined) found.push({ rule: 'tied-twice', severity: 'warning', where: ['lm_head.weight'], found: `config.json ties the head to the embedding, and both are stored (${(head.length / 1e6).toFixed(1)} MB)`, cure: 'leave lm_head.weight out' })
  found.push(...packingFindings(folder))
  const floats = [...tensors.values()].filter((t) => t.type === 'F16' || t.type === 'BF16' || t.type === 'F32').map((t) => t.name)
  const broken = await brokenHalves(folder, floats, signal)
  if (broken.size > 0) found.push({ rule: 'not-finite', severity: 'error', where: [...broken.keys()], found: `${[...broken.values()].reduce((a, b) => a + b, 0)} values are NaN or infinite`, cure: 'save the model again; what overflows float16 needs bfloat16 or float32' })
  return bySeverity(found)
}

function packingFindings(folder: HuggingFaceFolder): Finding[] {
  const format = checkpointFormat(folder.config)
  if (format === undefined) return packedUnsaid(folder)
  const found: Finding[] = []
  const layers = packedLayers(folder, format)
  if (layers.length === 0) found.push({ rule: 'nothing-packed', severity: 'error', where: [], found: `config.json says ${format.method}, and no tensor is packed so`, cure: 'take config.json and weights of one version, or remove quantization_config' })
  if (format.method === 'gptq' && format.actOrder) {
    const without = layers.filter((layer) => !folder.tensors.has(`${layer}.g_idx`))
    if (without.length > 0) found.push({ rule: 'act-order', severity: 'error', where: without, found: `desc_act, and ${without.length} layers have no g_idx: the group of each input is lost`, cure: 'quantize again, or say desc_act: false if the columns are in order' })
  }
  if (format.method === 'gptq' && format.format === 'gptq' && typeof stated(folder, 'checkpoint_format') !== 'string') found.push({ rule: 'gptq-version', severity: 'hint', where: [], found: 'no checkpoint_format: taken for version 1, whose zero points are stored one too small', cure: 'state it: "checkpoint_format": "gptq" or "gptq_v2"' })
  return found
}

function packedUnsaid({ tensors }: HuggingFaceFolder): Finding[] {
  const packed = [...tensors.keys()].filter((name) => /\.(qweight|weight_packed|weight\.absmax)$/.test(name))
  return packed.length === 0 ? [] : [{ rule: 'packing-unsaid', severity: 'error', where: packed, found: `${packed.length} weights are packed, and config.json has no quantization_config: they are read as noise, or refused`, cure: 'copy quantization_config from the original' }]
}

function packedLayers(folder: HuggingFaceFolder, format: CheckpointFormat): string[] {
  const layers = new Set([...folder.tensors.keys()].map((name) => name.replace(/\.(qweight|weight_packed|weight)$/, '')))
  return [...layers].filter((layer) => isPackedWeight(folder, layer, format))
}

function stated({ config }: HuggingFaceFolder, key: string): unknown {
  const quantization = config['quantization_config']
  return typeof quantization === 'object' && quantization !== null ? Reflect.get(quantization, key) : undefined
}
