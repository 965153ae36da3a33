import { readFileSync } from 'node:fs'
import type { HuggingFaceFolder } from '@lowbit/formats/huggingface'
import { folderOf } from './folder-in-memory.js'

/** A model folder of one safetensors file, from the disk. */
export function readFolder(path: string): HuggingFaceFolder {
  return folderOf(JSON.parse(readFileSync(`${path}/config.json`, 'utf8')) as Record<string, unknown>, readFileSync(`${path}/model.safetensors`), path)
}
